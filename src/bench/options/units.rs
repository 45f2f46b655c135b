//! Numbers with units, as people write them.

use std::time::Duration;

/// `10s`, `200ms`, `1m 30s`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    const MOST: Duration = Duration::from_secs(24 * 3_600);
    match humantime::parse_duration(text) {
        Ok(time) if time <= MOST => Ok(time),
        _ => Err(format!("\"{text}\" is not a time of at most a day; write 10s, 200ms or 1m")),
    }
}

/// `2000/s`, or `2000`; `30/m`.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let (number, seconds) = match text.split_once('/') {
        None | Some((_, "s")) => (text.trim_end_matches("/s"), 1.0),
        Some((number, "m" | "min")) => (number, 60.0),
        Some(_) => (text, 1.0),
    };
    match number.parse::<f64>() {
        Ok(number) if (0.0..=1e7).contains(&number) => Ok(number / seconds),
        _ => Err(format!("\"{text}\" is not a rate; write 2000/s, 0.5/s or 30/m, up to 10000000/s")),
    }
}

/// `5%`.
pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok()) {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err(format!("\"{text}\" is not a share; write 5%, from 0% to 100%")),
    }
}

/// `100`, `64KiB`, `1MiB`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = match text {
        _ if text.ends_with("KiB") => (text.trim_end_matches("KiB"), 1 << 10),
        _ if text.ends_with("MiB") => (text.trim_end_matches("MiB"), 1 << 20),
        _ => (text.strip_suffix('B').unwrap_or(text), 1),
    };
    let bytes = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.ok_or_else(|| format!("\"{text}\" is not a size; write 100, 64KiB or 1MiB"))
}

/// `1KiB/s`.
pub(super) fn byte_rate(text: &str) -> Result<u64, String> {
    bytes(text.trim_end_matches("/s")).map_err(|_| format!("\"{text}\" is not a speed; write 1KiB/s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units() {
        assert_eq!(time("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!((rate("2000/s"), rate("0.5"), rate("30/m")), (Ok(2_000.0), Ok(0.5), Ok(0.5)));
        assert_eq!((share("5%"), share("100%")), (Ok(0.05), Ok(1.0)));
        assert_eq!((bytes("100"), bytes("64KiB"), bytes("2MiB")), (Ok(100), Ok(65_536), Ok(2 << 20)));
        assert_eq!(byte_rate("1KiB/s"), Ok(1_024));
    }

    #[test]
    fn what_is_no_number_is_told_how_to_write_one() {
        assert!(time("ten").is_err_and(|error| error.contains("10s")));
        assert!(time("2 days").is_err_and(|error| error.contains("a day")));
        assert!(rate("5/h").is_err_and(|error| error.contains("2000/s")));
        assert!(rate("-1/s").is_err() && rate("1e9/s").is_err() && rate("nan").is_err());
        assert!(share("0.05").is_err_and(|error| error.contains("5%")) && share("101%").is_err());
        assert!(bytes("-1").is_err() && bytes("1GB").is_err() && bytes("99999999999999999MiB").is_err());
        assert!(byte_rate("fast").is_err_and(|error| error.contains("1KiB/s")));
    }
}
