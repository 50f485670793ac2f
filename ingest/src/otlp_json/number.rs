//! Numbers by their digits, so that none is rounded on the way.

/// A number as JSON writes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal<'a> {
    text: &'a str,
    is_negative: bool,
    /// The digits before the point.
    integer: &'a [u8],
    /// The digits behind it.
    fraction: &'a [u8],
    /// Saturated: no text has so many digits that it would matter.
    exponent: i64,
}

impl<'a> Decimal<'a> {
    /// The number that `text` begins with.
    ///
    /// # Errors
    /// How many bytes into the text a digit is missing.
    pub(super) fn at_start_of(text: &'a str) -> Result<Self, usize> {
        let bytes = text.as_bytes();
        let is_negative = bytes.starts_with(b"-");
        let mut end = usize::from(is_negative);
        let integer = match bytes.get(end) {
            // JSON writes no other digit behind a leading zero.
            Some(b'0') => &bytes[end..=end],
            _ => digits(bytes, end)?,
        };
        end += integer.len();
        let mut fraction: &[u8] = &[];
        if bytes.get(end) == Some(&b'.') {
            fraction = digits(bytes, end + 1)?;
            end += 1 + fraction.len();
        }
        let mut exponent = 0;
        if let Some(b'e' | b'E') = bytes.get(end) {
            let sign = bytes.get(end + 1).copied().filter(|byte| matches!(byte, b'+' | b'-'));
            let start = end + 1 + usize::from(sign.is_some());
            let exponent_digits = digits(bytes, start)?;
            exponent = fold(exponent_digits);
            if sign == Some(b'-') {
                exponent = -exponent;
            }
            end = start + exponent_digits.len();
        }
        Ok(Self { text: &text[..end], is_negative, integer, fraction, exponent })
    }

    /// The number that `text` is as a whole.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        Self::at_start_of(text).ok().filter(|number| number.text.len() == text.len())
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// The nearest double; infinite if the number is out of range.
    pub(super) fn to_double(self) -> f64 {
        self.text.parse().expect("Rust reads every number of JSON")
    }

    /// The integer that the number is, if it is one. Beyond 20 digits it is merely very large.
    pub(super) fn to_integer(self) -> Option<i128> {
        let digits = || self.integer.iter().chain(self.fraction).map(|digit| i128::from(digit - b'0'));
        let Some(first) = digits().position(|digit| digit != 0) else { return Some(0) };
        // Where the point is, counted in digits.
        let point = self.exponent.saturating_add(self.integer.len() as i64);
        let behind_point = usize::try_from(point).unwrap_or(0);
        if digits().skip(behind_point).any(|digit| digit != 0) {
            return None;
        }
        let significant = point.saturating_sub(first as i64);
        let magnitude = if significant > 20 {
            i128::MAX
        } else {
            let padded = digits().chain(std::iter::repeat(0)).skip(first);
            padded.take(significant as usize).fold(0, |value, digit| value * 10 + digit)
        };
        Some(if self.is_negative { -magnitude } else { magnitude })
    }
}

/// One digit at least.
fn digits(bytes: &[u8], start: usize) -> Result<&[u8], usize> {
    let rest = &bytes[start..];
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    if end == 0 { Err(start) } else { Ok(&rest[..end]) }
}

fn fold(digits: &[u8]) -> i64 {
    digits
        .iter()
        .fold(0, |value: i64, digit| value.saturating_mul(10).saturating_add(i64::from(digit - b'0')))
}
