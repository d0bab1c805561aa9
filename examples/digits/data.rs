//! The images: reads and checks a file of them, and holds every fifth one out.

use std::fmt::Display;
use std::path::Path;

use ndarray::{Array2, Axis};

/// Pixels of an image: 8 x 8, row by row.
pub const PIXELS: usize = 64;
/// The classes: the digits 0 to 9.
pub const DIGITS: usize = 10;

/// Numbers in a line of the file: the pixels, and the digit.
const NUMBERS: usize = PIXELS + 1;
/// The value of a pixel that is all ink.
const INK: f32 = 16.0;
/// One image in this many is held out.
const FOLDS: usize = 5;

/// Images, as a linear model takes them.
#[derive(Debug)]
pub struct Images {
    /// A row per image: the pixels scaled to 0..=1, less their mean over the training images; then
    /// a 1, whose weight is the bias. (The bias makes up for the mean: the same model, found
    /// sooner.)
    pub features: Array2<f32>,
    /// The digit that each image shows.
    pub digits: Vec<u8>,
}

/// The images to train on, and those to test on.
#[derive(Debug)]
pub struct Data {
    pub train: Images,
    /// The images i with i mod 5 = 4.
    pub held_out: Images,
    /// Whether they are the images that come with the example.
    pub bundled: bool,
}

/// Reads the images of a file, or of the one that comes with the example.
///
/// # Errors
/// Names the file, the line, and what was expected there.
pub fn read(path: Option<&Path>) -> Result<Data, String> {
    let Some(path) = path else {
        let data = parse("digits.csv", include_str!("../data/digits.csv"))?;
        return Ok(Data {
            bundled: true,
            ..data
        });
    };
    let name = path.display();
    let bytes = std::fs::read(path).map_err(|error| {
        format!("{name}: expected a file of {NUMBERS} numbers a line, but cannot read it: {error}")
    })?;
    // Bytes that are no text become a value that is no number, and so an error with its line.
    parse(name, &String::from_utf8_lossy(&bytes))
}

/// Reads the images of a text: a line for each, 64 pixels from 0 to 16 and the digit, separated by
/// commas. Blank lines do not count.
///
/// # Errors
/// Names the file, the line, and what was expected there.
pub fn parse(name: impl Display, text: &str) -> Result<Data, String> {
    let (mut features, mut digits) = (Vec::new(), Vec::new());
    let mut end = 1;
    for (line, number) in text.lines().zip(1..) {
        end = number + 1;
        if !line.trim().is_empty() {
            let (pixels, digit) =
                parse_line(line).map_err(|problem| format!("{name}, line {number}: {problem}"))?;
            features.extend(pixels);
            features.push(1.0);
            digits.push(digit);
        }
    }
    if digits.len() < FOLDS {
        return Err(format!(
            "{name}, line {end}: expected at least {FOLDS} images, one of them to hold out, found {}",
            digits.len()
        ));
    }
    let features = Array2::from_shape_vec((digits.len(), PIXELS + 1), features)
        .map_err(|error| format!("{name}: {error}"))?;
    Ok(split(&features, &digits))
}

/// The pixels and the digit of a line.
fn parse_line(line: &str) -> Result<(Vec<f32>, u8), String> {
    let values: Vec<&str> = line.split(',').map(str::trim).collect();
    let Some((digit, pixels)) = values.split_last().filter(|_| values.len() == NUMBERS) else {
        let found = values.len();
        return Err(format!("expected {NUMBERS} numbers, found {found}"));
    };
    let pixel = |(value, position): (&&str, usize)| match value.parse() {
        Ok(pixel) if (0.0..=INK).contains(&pixel) => Ok(pixel / INK),
        _ => Err(format!(
            "expected a number from 0 to {INK} as value {position}, found {}",
            quoted(value)
        )),
    };
    let pixels = pixels
        .iter()
        .zip(1..)
        .map(pixel)
        .collect::<Result<_, _>>()?;
    let value = quoted(digit);
    let digit = (0..DIGITS as u8).find(|&class| digit.parse() == Ok(f32::from(class)));
    let expected = || format!("expected a digit from 0 to 9 as value {NUMBERS}, found {value}");
    Ok((pixels, digit.ok_or_else(expected)?))
}

/// A value as an error message shows it: its beginning, in quotes.
fn quoted(value: &str) -> String {
    format!("{:?}", value.chars().take(20).collect::<String>())
}

/// Holds every fifth image out, and takes the mean of the others from all.
fn split(features: &Array2<f32>, digits: &[u8]) -> Data {
    let (held_out, train): (Vec<_>, Vec<_>) =
        (0..digits.len()).partition(|i| i % FOLDS == FOLDS - 1);
    let mut mean = features.select(Axis(0), &train).sum_axis(Axis(0)) / train.len() as f32;
    mean[PIXELS] = 0.0;
    let images = |indices: &[usize]| Images {
        features: features.select(Axis(0), indices) - &mean,
        digits: indices.iter().map(|&i| digits[i]).collect(),
    };
    Data {
        train: images(&train),
        held_out: images(&held_out),
        bundled: false,
    }
}
