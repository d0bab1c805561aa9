//! The picture: the largest error of a probability against the spread of the logits.

use std::path::Path;

use plotters::prelude::*;

use crate::implementation::Implementation;
use crate::measure::{Failure, Spread};

const SIZE: (u32, u32) = (760, 440);
const SPREADS: std::ops::Range<f64> = 0.09..1100.0;
const ERRORS: std::ops::Range<f64> = 0.6..2e7;
/// So far off is only 0 instead of a subnormal probability.
const FLUSHED: f64 = 1e6;
const DARK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);

/// An implementation's errors, and how they look.
struct Line {
    label: String,
    /// Told apart by the colour-blind, too.
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

pub fn draw(
    path: &Path,
    implementations: &[Implementation],
    spreads: &[Spread],
) -> Result<(), Failure> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .margin_right(20)
        .x_label_area_size(48)
        .y_label_area_size(58)
        .build_cartesian_2d(SPREADS.log_scale(), ERRORS.log_scale())?;
    chart
        .configure_mesh()
        .x_desc("spread of the logits (standard deviation)")
        .y_desc("largest error of a probability, ULP")
        .axis_desc_style(text(15))
        .label_style(text(14))
        .axis_style(DARK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .x_labels(5)
        .y_labels(8)
        .x_label_formatter(&|&x| number(x))
        .y_label_formatter(&|&x| number(x))
        .draw()?;
    for line in lines(implementations, spreads) {
        let Line {
            label,
            color,
            points,
        } = line;
        let marks = points.iter().map(|&at| Circle::new(at, 3, color.filled()));
        chart.draw_series(marks)?;
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| {
                let bar = [(x, y - 2), (x + 18, y + 1)];
                Rectangle::new(bar, color.filled())
            });
    }
    if spreads
        .iter()
        .flat_map(|x| &x.errors)
        .flatten()
        .any(|&error| error > FLUSHED)
    {
        let note = "subnormal probabilities come out as 0";
        chart.draw_series([Text::new(note, (16.0, 2.5 * FLUSHED), text(14))])?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(text(14))
        .background_style(WHITE)
        .border_style(GRID)
        .legend_area_size(28)
        .margin(10)
        .draw()?;
    root.present()?;
    Ok(())
}

/// A power of ten.
fn number(x: f64) -> String {
    if x < 1e4 {
        x.to_string()
    } else {
        format!("{x:e}")
    }
}

fn text(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&DARK)
}

/// The usual formula first, so that nothing hides softlane.
fn lines(implementations: &[Implementation], spreads: &[Spread]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (i, &implementation) in implementations.iter().enumerate() {
        let (label, color) = look(implementation);
        let errors = spreads.iter().map(|x| (x.spread, x.errors[i]));
        let points: Vec<_> = errors.filter_map(|(x, y)| Some((x, y?))).collect();
        // Backends that give the same bits are one line.
        if !lines.iter().any(|line| line.label == label) {
            lines.push(Line {
                label,
                color,
                points,
            });
        }
    }
    lines.reverse();
    lines
}

fn look(implementation: Implementation) -> (String, RGBColor) {
    let (label, color) = match implementation {
        Implementation::Rten => ("rten-vecmath", RGBColor(230, 159, 0)),
        Implementation::Candle => ("candle", RGBColor(204, 121, 167)),
        Implementation::Softlane(backend) if backend.is_fused() => {
            ("softlane: AVX-512, AVX2", RGBColor(0, 114, 178))
        }
        Implementation::Softlane(backend) if backend.name() == "scalar" => {
            ("exp(x - max), the usual formula", RGBColor(90, 90, 90))
        }
        Implementation::Softlane(_) => (
            "softlane: portable, no fused multiply-add",
            RGBColor(86, 180, 233),
        ),
    };
    (label.to_owned(), color)
}
