//! Sizes and durations as people write them on a command line. Layer: pure text.

use std::time::Duration;

/// A mebibyte.
pub const MIB: u64 = 1 << 20;

/// Reads a size in bytes: `512M`, `1G`, `256MiB`, `100MB` or plain bytes.
///
/// `K`, `M`, `G`, `T` and `KiB`… count in steps of 1024, as QEMU does; `KB`, `MB`… in steps of 1000.
///
/// # Errors
/// What is wrong with `text`, for people.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text).ok_or_else(|| SIZE_HINT.to_string())?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => MIB,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(format!("unknown unit '{unit}'; {SIZE_HINT}")),
    };
    let whole: u64 = number.parse().map_err(|_| SIZE_HINT.to_string())?;
    whole
        .checked_mul(factor)
        .ok_or_else(|| "larger than the memory of any machine".to_string())
}

const SIZE_HINT: &str = "expected a whole number with a unit, such as 512M, 1G or 256MiB";

/// Reads a duration: `10s`, `500ms`, `2m`, `1h`, also with a fraction, `1.5s`. A bare number is seconds.
///
/// # Errors
/// What is wrong with `text`, for people.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text).ok_or_else(|| DURATION_HINT.to_string())?;
    let nanoseconds: u64 = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "" | "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(format!("unknown unit '{unit}'; {DURATION_HINT}")),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| DURATION_HINT.to_string())?;
    let mut total = whole
        .checked_mul(nanoseconds)
        .ok_or_else(|| TOO_LONG.to_string())?;
    // Digit by digit, so that nothing is rounded through floating point.
    let mut place = nanoseconds;
    for digit in fraction.chars() {
        place /= 10;
        let value = digit.to_digit(10).ok_or_else(|| DURATION_HINT.to_string())?;
        total = total
            .checked_add(place * u64::from(value))
            .ok_or_else(|| TOO_LONG.to_string())?;
    }
    if total == 0 {
        return Err("zero would stop the run before it starts".to_string());
    }
    Ok(Duration::from_nanos(total))
}

const DURATION_HINT: &str = "expected a number with a unit, such as 10s, 500ms or 2m";
const TOO_LONG: &str = "longer than the maximum of 584 years";

/// Cuts a number from its unit. `None` if there is no number.
fn split(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    number
        .starts_with(|c: char| c.is_ascii_digit())
        .then_some((number, unit.trim_start()))
}

/// A size for people: in the largest unit that divides it, or rounded to one decimal.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", MIB), ("KiB", 1 << 10)];
    for (unit, factor) in UNITS {
        if bytes >= factor {
            let whole = bytes / factor;
            return match (bytes % factor).saturating_mul(10) / factor {
                0 => format!("{whole} {unit}"),
                tenths => format!("{whole}.{tenths} {unit}"),
            };
        }
    }
    format!("{bytes} bytes")
}

/// A duration for people.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    format!("{duration:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("512M", 512 * MIB),
            ("512m", 512 * MIB),
            ("1G", 1 << 30),
            ("256MiB", 256 * MIB),
            ("256 MiB", 256 * MIB),
            ("64mib", 64 * MIB),
            ("2T", 2 << 40),
            ("100MB", 100_000_000),
            ("4096K", 4 * MIB),
            ("268435456", 256 * MIB),
            ("1048576B", MIB),
            ("0", 0),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size() {
        for text in [
            "",
            "M",
            "-1M",
            "+1M",
            "1.5G",
            "1X",
            "12 parsecs",
            "0x10M",
            "M12",
            "1M2",
            "99999999999999999999",
            "99999999T",
            "١M",
        ] {
            let message = parse_size(text).unwrap_err();
            assert!(!message.is_empty(), "{text}");
        }
        assert!(parse_size("1.5G").unwrap_err().contains("such as 512M"));
        assert!(parse_size("5Q").unwrap_err().contains("'Q'"));
    }

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("10", 10_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("2min", 120_000),
            ("1h", 3_600_000),
            ("1.5s", 1_500),
            ("0.25s", 250),
            ("1.s", 1_000),
            ("1.0005s", 1_000),
        ] {
            let expected = Duration::from_millis(milliseconds);
            let parsed = parse_duration(text).unwrap();
            assert_eq!(parsed.as_millis(), expected.as_millis(), "{text}");
        }
        assert_eq!(parse_duration("1.0005s"), Ok(Duration::from_micros(1_000_500)));
        assert_eq!(parse_duration("7us"), Ok(Duration::from_micros(7)));
        assert_eq!(parse_duration("7ns"), Ok(Duration::from_nanos(7)));
    }

    #[test]
    fn what_is_no_duration() {
        for text in [
            "",
            "s",
            "-1s",
            "1x",
            "1S",
            ".5s",
            "1.5.5s",
            "1e3s",
            "0",
            "0s",
            "0.0ms",
            "99999999999999999h",
            "inf",
            "1s 2s",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_for_people() {
        assert_eq!(show_size(0), "0 bytes");
        assert_eq!(show_size(1023), "1023 bytes");
        assert_eq!(show_size(1536), "1.5 KiB");
        assert_eq!(show_size(256 * MIB), "256 MiB");
        assert_eq!(show_size(u64::MAX), "17179869183.9 GiB");
    }
}
