//! Reads floating-point numbers as Rust's `parse` does, to the last bit, in a tenth of its size: an image that reads a
//! few arguments in its life has no use for 15 KB of tables that make it fast.
//!
//! Layer: pure. The number is a fraction of two large integers; long division gives the bits, and what remains rounds
//! them: to the nearest, and to the even one of two.

use alloc::vec::Vec;

/// A format of IEEE 754.
struct Format {
    /// Bits of the significand, with the one that is not stored.
    precision: u32,
    /// The exponent of the smallest number's last bit.
    least: i32,
    /// Bits in all.
    width: u32,
}

/// Why a text is no number, in Rust's words.
pub(super) type Reason = &'static str;

/// Digits that can matter: a number halfway between two others has 767 at most.
const DIGITS: usize = 800;

/// The bits of an `f32`.
pub(super) fn single(text: &str) -> Result<u32, Reason> {
    let format = Format {
        precision: 24,
        least: -149,
        width: 32,
    };
    // It has no more bits than its width.
    parse(text, &format).map(|bits| u32::try_from(bits).unwrap_or(u32::MAX))
}

/// The bits of an `f64`.
pub(super) fn double(text: &str) -> Result<u64, Reason> {
    let format = Format {
        precision: 53,
        least: -1074,
        width: 64,
    };
    parse(text, &format)
}

#[cfg_attr(target_os = "hermit", optimize(size))]
fn parse(text: &str, format: &Format) -> Result<u64, Reason> {
    if text.is_empty() {
        return Err("cannot parse float from empty string");
    }
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let sign = u64::from(negative) << (format.width - 1);
    let infinity = (1u64 << (format.width - 1)) - (1 << (format.precision - 1));
    let is = |word: &str| rest.eq_ignore_ascii_case(word);
    let magnitude = if is("inf") || is("infinity") {
        infinity
    } else if is("nan") {
        infinity | 1 << (format.precision - 2)
    } else {
        let number = Number::parse(rest.as_bytes()).ok_or("invalid float literal")?;
        number.round(format).min(infinity)
    };
    Ok(sign | magnitude)
}

/// Significant decimal digits, and the exponent of the last one.
struct Number {
    digits: Vec<u8>,
    exponent: i64,
}

impl Number {
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn parse(text: &[u8]) -> Option<Self> {
        let mut digits = Vec::new();
        let (mut any, mut point, mut left_out, mut exponent) = (false, false, false, 0i64);
        let mut bytes = text.iter();
        for byte in &mut bytes {
            match byte {
                b'0'..=b'9' => {
                    any = true;
                    let digit = byte - b'0';
                    if digits.len() < DIGITS && (digit != 0 || !digits.is_empty()) {
                        digits.push(digit);
                        exponent -= i64::from(point);
                    } else if digits.is_empty() {
                        exponent -= i64::from(point);
                    } else {
                        left_out |= digit != 0;
                        exponent += i64::from(!point);
                    }
                }
                b'.' if !point => point = true,
                b'e' | b'E' if any => {
                    let rest = bytes.as_slice();
                    let (negative, rest) = match rest.split_first() {
                        Some((b'-', rest)) => (true, rest),
                        Some((b'+', rest)) => (false, rest),
                        _ => (false, rest),
                    };
                    if rest.is_empty() {
                        return None;
                    }
                    let mut given = 0i64;
                    for byte in rest {
                        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
                        given = given.saturating_mul(10).saturating_add(digit);
                    }
                    exponent = exponent.saturating_add(if negative { -given } else { given });
                    break;
                }
                _ => return None,
            }
        }
        if left_out {
            // Whatever they are, the number is a little more.
            digits.push(1);
            exponent = exponent.saturating_sub(1);
        }
        any.then_some(Self { digits, exponent })
    }

    /// The bits of the nearest number without its sign; more than infinity's if it is too large.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn round(&self, format: &Format) -> u64 {
        // Of the first digit.
        let magnitude = i64::try_from(self.digits.len())
            .unwrap_or(i64::MAX)
            .saturating_add(self.exponent);
        if self.digits.is_empty() || magnitude < -350 {
            return 0;
        }
        if magnitude > 310 {
            return u64::MAX >> 1;
        }
        let (mut numerator, mut denominator) = (Large::default(), Large(alloc::vec![1]));
        for digit in &self.digits {
            numerator.multiply_and_add(10, u32::from(*digit));
        }
        let power = match self.exponent < 0 {
            true => &mut denominator,
            false => &mut numerator,
        };
        for _ in 0..self.exponent.unsigned_abs() {
            power.multiply_and_add(10, 0);
        }
        // Both have some thousand bits at most. The quotient gets one or two more than the precision.
        let bits = |large: &Large| i32::try_from(large.bits()).unwrap_or(i32::MAX);
        let precision = format.precision.cast_signed();
        let unit = bits(&numerator) - bits(&denominator) - 1 - precision;
        let larger = match unit > 0 {
            true => &mut denominator,
            false => &mut numerator,
        };
        larger.shift_left(unit.unsigned_abs());
        let quotient = numerator.divide(&denominator, format.precision + 2);
        let remains = !numerator.is_zero();
        // What the last bit is worth that stays.
        let used = (u64::BITS - quotient.leading_zeros()).cast_signed();
        let last = (unit + used - precision).max(format.least);
        let dropped = (last - unit).unsigned_abs();
        let kept = quotient.checked_shr(dropped).unwrap_or(0);
        let half = 1u64.checked_shl(dropped.wrapping_sub(1)).unwrap_or(0);
        let rest = quotient ^ kept.checked_shl(dropped).unwrap_or(0);
        let up = half != 0 && (rest > half || rest == half && (remains || kept & 1 == 1));
        // A significand that is full makes the exponent one more, by its carry.
        let exponent = u64::from((last - format.least).unsigned_abs());
        (exponent << (format.precision - 1)) + kept + u64::from(up)
    }
}

/// A large integer, its lowest part first, the highest not zero.
#[derive(Clone, Default)]
struct Large(Vec<u32>);

impl Large {
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bits(&self) -> usize {
        let low = self.0.len().saturating_sub(1).saturating_mul(32);
        let high = self
            .0
            .last()
            .map_or(0, |part| part.checked_ilog2().map_or(0, |log| log + 1));
        low.saturating_add(usize::try_from(high).unwrap_or(0))
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn multiply_and_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for part in &mut self.0 {
            carry += u64::from(*part) * u64::from(factor);
            *part = low(carry);
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(low(carry));
        }
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn shift_left(&mut self, bits: u32) {
        let mut left = bits;
        while left > 0 && !self.is_zero() {
            let step = left.min(31);
            self.multiply_and_add(1 << step, 0);
            left -= step;
        }
    }

    /// Halves it; what is lost is nothing, as callers see to.
    fn halve(&mut self) {
        let mut carry = 0;
        for part in self.0.iter_mut().rev() {
            let next = *part << 31;
            *part = *part >> 1 | carry;
            carry = next;
        }
        self.trim();
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn is_less(&self, other: &Self) -> bool {
        let order = self.0.len().cmp(&other.0.len());
        order
            .then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
            .is_lt()
    }

    /// Divides it by `divisor`, where the quotient has `bits` bits at most, and keeps what remains.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn divide(&mut self, divisor: &Self, bits: u32) -> u64 {
        let mut divisor = divisor.clone();
        divisor.shift_left(bits);
        let mut quotient = 0;
        for _ in 0..bits {
            divisor.halve();
            quotient <<= 1;
            if !self.is_less(&divisor) {
                quotient |= 1;
                let mut borrow = false;
                let others = divisor.0.iter().copied().chain(core::iter::repeat(0));
                for (part, other) in self.0.iter_mut().zip(others) {
                    let (first, one) = part.overflowing_sub(other);
                    let (second, two) = first.overflowing_sub(u32::from(borrow));
                    (*part, borrow) = (second, one || two);
                }
                self.trim();
            }
        }
        quotient
    }
}

/// The low half.
fn low(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString as _};

    /// What Rust's own parser makes of it.
    fn same(text: &str) {
        let words = |error: core::num::ParseFloatError| error.to_string();
        assert_eq!(
            double(text).map_err(String::from),
            text.parse::<f64>().map(f64::to_bits).map_err(words),
            "{text}"
        );
        assert_eq!(
            single(text).map_err(String::from),
            text.parse::<f32>().map(f32::to_bits).map_err(words),
            "{text}"
        );
    }

    #[test]
    fn what_is_a_number_and_what_is_not() {
        for text in [
            "",
            "+",
            "-",
            ".",
            "e",
            "e1",
            "1e",
            "1e+",
            "1e1.",
            "1.2.3",
            "0x1",
            "--1",
            "+-1",
            " 1",
            "1 ",
            "1_0",
            "inf",
            "-INF",
            "+Infinity",
            "infinit",
            "nan",
            "-NaN",
            "+nan",
            "1.",
            ".5",
            "-.5e1",
            "5.e-1",
            "0",
            "-0",
            "0e9",
            "0.000e-999999999999999999999",
            "1e999999999999999999999",
            "-1e-999999999999999999999",
            "00012.500",
            "١",
            ".e1",
            "1e-",
            "1E5",
            "1e+05",
        ] {
            same(text);
        }
    }

    #[test]
    fn where_formats_end() {
        for text in [
            "1.7976931348623157e308",
            "1.7976931348623158e308",
            "1.797693134862315807e308",
            "1.797693134862315808e308",
            "1.7976931348623159e308",
            "2e308",
            "4.9e-324",
            "5e-324",
            "2.4703282292062327e-324",
            "2.4703282292062328e-324",
            "2.5e-324",
            "1e-324",
            "2.2250738585072014e-308",
            "2.2250738585072011e-308",
            "2.225073858507201e-308",
            "3.4028234e38",
            "3.4028235e38",
            "3.4028235677973366e38",
            "3.4028235677973362e38",
            "3.5e38",
            "1.4e-45",
            "7.006492321624085e-46",
            "7.006492321624086e-46",
            "1.1754943508222875e-38",
            "1.1754942e-38",
            "9007199254740993",
            "9007199254740992.5",
            "9007199254740993.00000000000000000000000001",
            "16777217",
            "16777219",
            "16777217.0000000000000001",
            "1e22",
            "1e23",
            "8.5e22",
        ] {
            same(text);
        }
    }

    #[test]
    fn digits_far_behind_decide_between_two() {
        // Halfway between 1 and the next number, and a little more, at any distance.
        let half = "1.00000000000000011102230246251565404236316680908203125";
        same(half);
        for zeros in [0, 1, 100, 700, 745, 746, 747, 748, 749, 800, 5000] {
            same(&format!("{half}{}1", "0".repeat(zeros)));
            same(&format!("{half}{}", "0".repeat(zeros)));
            same(&format!("1{}", "0".repeat(zeros)));
            same(&format!("0.{}1", "0".repeat(zeros)));
            same(&format!("1{0}e-{zeros}", "0".repeat(zeros)));
            same(&"9".repeat(zeros + 1));
        }
    }

    #[test]
    fn random_numbers() {
        let mut state = 1u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state ^ state >> 29
        };
        let many = if cfg!(miri) { 10 } else { 3000 };
        for _ in 0..many {
            let (bits, digits) = (next(), next());
            same(&format!("{}", f64::from_bits(bits)));
            same(&format!("{:e}", f64::from_bits(bits)));
            same(&format!("{}", f32::from_bits(low(bits >> 16))));
            same(&format!(
                "{}e{}",
                digits,
                i64::try_from(bits % 700).unwrap() - 350
            ));
            same(&format!(
                "{}.{}e{}",
                digits % 1000,
                bits,
                i64::try_from(digits % 90).unwrap() - 45
            ));
        }
    }
}
