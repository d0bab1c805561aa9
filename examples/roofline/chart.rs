//! The charts: a line against the class count for each backend.

use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::common::IN_CACHE;
use crate::limits::LIMITS;
use crate::measure::{Measured, Operation};

type Failure = Box<dyn Error>;

const SIZE: (u32, u32) = (800, 500);
/// Above the plot: two lines of title, and the legend.
const HEAD: u32 = 84;
/// Beside the plot: the names of the limits.
const RIGHT: u32 = 64;
/// Where the plot begins.
const LEFT: i32 = 70;
/// From one entry of the legend to the next.
const ENTRY: i32 = 120;
/// From one name of a limit to the next, at least.
const APART: i32 = 15;
const DARK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);
const LIMIT: RGBColor = RGBColor(130, 130, 130);

/// What a chart shows.
struct Chart<'a> {
    title: String,
    unit: String,
    classes: Vec<f64>,
    /// Values and names, slowest first.
    lines: Vec<(Vec<f64>, &'a str)>,
    limits: Vec<(&'a [f64], &'a str)>,
}

/// The speed of an operation, with the limits.
pub fn throughput(
    path: &Path,
    measured: &Measured,
    operation: &Operation,
    processor: &str,
) -> Result<(), Failure> {
    let limits = measured.limits.iter().zip(LIMITS);
    let chart = Chart {
        title: format!("{}: throughput", operation.name),
        unit: "elements per nanosecond".to_owned(),
        classes: classes(measured),
        lines: operation
            .speeds
            .iter()
            .cloned()
            .zip(measured.backends.iter().copied())
            .collect(),
        limits: limits
            .map(|(speeds, limit)| (speeds.as_slice(), limit.name))
            .collect(),
    };
    chart.draw(path, processor)
}

/// The speed of an operation, as a multiple of the slowest backend's.
pub fn speedup(
    path: &Path,
    measured: &Measured,
    operation: &Operation,
    processor: &str,
) -> Result<(), Failure> {
    let slowest = &operation.speeds[0];
    let times = |speeds: &Vec<f64>| speeds.iter().zip(slowest).map(|(a, b)| a / b).collect();
    let chart = Chart {
        title: format!("{}: speed-up", operation.name),
        unit: format!("times the speed of {}", measured.backends[0]),
        classes: classes(measured),
        lines: operation
            .speeds
            .iter()
            .map(times)
            .zip(measured.backends.iter().copied())
            .collect(),
        limits: Vec::new(),
    };
    chart.draw(path, processor)
}

fn classes(measured: &Measured) -> Vec<f64> {
    measured.classes.iter().map(|&x| x as f64).collect()
}

impl Chart<'_> {
    fn draw(&self, path: &Path, processor: &str) -> Result<(), Failure> {
        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let conditions =
            format!("{processor}, 1 thread, batches of {IN_CACHE} elements, or one row or slice");
        root.draw(&Text::new(self.title.as_str(), (LEFT, 12), text(19)))?;
        root.draw(&Text::new(conditions, (LEFT, 36), text(14)))?;
        self.legend(&root)?;

        let values = self.lines.iter().map(|(values, _)| values.as_slice());
        let limits = self.limits.iter().map(|&(values, _)| values);
        let y = around(values.chain(limits).flatten(), 1.25);
        let x = around(self.classes.iter(), 1.15);
        let (x_ticks, y_ticks) = (powers_of_4(&x), decimal(&y));
        let mut chart = ChartBuilder::on(&root)
            .margin_top(HEAD)
            .margin_bottom(8)
            .margin_left(8)
            .margin_right(RIGHT)
            .x_label_area_size(46)
            .y_label_area_size(LEFT - 8)
            .build_cartesian_2d(
                x.log_scale().with_key_points(x_ticks),
                y.log_scale().with_key_points(y_ticks),
            )?;
        chart
            .configure_mesh()
            .x_desc("classes")
            .y_desc(self.unit.as_str())
            .axis_desc_style(text(15))
            .label_style(text(14))
            .axis_style(DARK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .x_label_formatter(&ToString::to_string)
            .y_label_formatter(&ToString::to_string)
            .draw()?;
        let points = |values: &[f64]| -> Vec<_> {
            let classes = self.classes.iter().copied();
            classes.zip(values.iter().copied()).collect()
        };
        let mut ends = Vec::new();
        for (values, name) in &self.limits {
            let points = points(values);
            if let Some(end) = points.last() {
                ends.push((chart.plotting_area().map_coordinate(end), *name));
            }
            chart.draw_series(DashedLineSeries::new(points, 6, 4, LIMIT.stroke_width(1)))?;
        }
        for (values, name) in &self.lines {
            let (points, color) = (points(values), color(name));
            let marks = points.iter().map(|&at| Circle::new(at, 3, color.filled()));
            chart.draw_series(marks)?;
            chart.draw_series(LineSeries::new(points, color.stroke_width(2)))?;
        }
        // From top to bottom, none over the one before.
        ends.sort_by_key(|&((_, y), _)| y);
        let right = chart.plotting_area().get_pixel_range().0.end;
        let mut free = 0;
        for ((_, y), name) in ends {
            let y = y.max(free);
            free = y + APART;
            root.draw(&Text::new(name, (right + 10, y - 6), text(14)))?;
        }
        root.present()?;
        Ok(())
    }

    /// A line under the title.
    fn legend(&self, root: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Failure> {
        let y = 66;
        let mut x = LEFT;
        for (_, name) in &self.lines {
            let bar = [(x, y - 1), (x + 20, y + 2)];
            root.draw(&Rectangle::new(bar, color(name).filled()))?;
            root.draw(&Text::new(*name, (x + 28, y - 6), text(14)))?;
            x += ENTRY;
        }
        if !self.limits.is_empty() {
            let dashes = [(x, x + 6), (x + 10, x + 16), (x + 20, x + 26)];
            for (from, to) in dashes {
                root.draw(&PathElement::new(vec![(from, y), (to, y)], LIMIT))?;
            }
            root.draw(&Text::new("limits", (x + 34, y - 6), text(14)))?;
        }
        Ok(())
    }
}

/// From the least to the greatest, and a part beyond.
fn around<'a>(values: impl Iterator<Item = &'a f64>, beyond: f64) -> Range<f64> {
    let (mut least, mut greatest) = (f64::MAX, 0.0_f64);
    for &value in values {
        least = least.min(value);
        greatest = greatest.max(value);
    }
    least / beyond..greatest * beyond
}

fn powers_of_4(range: &Range<f64>) -> Vec<f64> {
    let powers = (0..32).map(|i| 4_f64.powi(i));
    powers.filter(|x| range.contains(x)).collect()
}

/// 1, 2 and 5 times powers of ten.
fn decimal(range: &Range<f64>) -> Vec<f64> {
    // Divided, as 0.1 has no exact multiples.
    let ticks = (-6..7).flat_map(|i| {
        [1.0, 2.0, 5.0].map(|x| {
            if i < 0 {
                x / 10_f64.powi(-i)
            } else {
                x * 10_f64.powi(i)
            }
        })
    });
    ticks.filter(|x| range.contains(x)).collect()
}

fn text(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&DARK)
}

/// Told apart by the colour-blind, too.
fn color(backend: &str) -> RGBColor {
    match backend {
        "scalar" => RGBColor(90, 90, 90),
        "portable" => RGBColor(86, 180, 233),
        "avx2" => RGBColor(0, 158, 115),
        _ => RGBColor(0, 114, 178),
    }
}
