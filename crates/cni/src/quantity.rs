//! Kubernetes quantities, as far as bandwidth annotations use them.

/// A text that is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a quantity: write a number with an optional suffix, such as 10M, 512Ki or 1e6"
)]
pub struct QuantityError(pub String);

/// Reads a non-negative quantity and rounds it up to a whole number, as Kubernetes does:
/// decimal suffixes n, u, m, k, M, G, T, P, E, binary ones Ki to Ei, or an exponent.
///
/// # Errors
/// [`QuantityError`] when the text is none or the value does not fit into 64 bits.
pub fn parse_quantity(text: &str) -> Result<u64, QuantityError> {
    let wrong = || QuantityError(text.to_owned());
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // Twelve digits after the point are finer than any unit; more are refused rather than cut.
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || fraction.len() > 12 {
        return Err(wrong());
    }
    let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| wrong())?;
    let (multiplier, divisor) = scale(suffix).ok_or_else(wrong)?;
    let fraction_digits = u32::try_from(fraction.len()).map_err(|_| wrong())?;
    let divisor = 10u128
        .checked_pow(fraction_digits)
        .and_then(|tens| tens.checked_mul(divisor));
    let value = digits
        .checked_mul(multiplier)
        .zip(divisor)
        .map(|(product, divisor)| product.div_ceil(divisor));
    value
        .and_then(|value| u64::try_from(value).ok())
        .ok_or_else(wrong)
}

/// What a suffix multiplies by and divides by.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    let exponent = |power: u32| 10u128.checked_pow(power);
    Some(match suffix {
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "" => (1, 1),
        "k" => (exponent(3)?, 1),
        "M" => (exponent(6)?, 1),
        "G" => (exponent(9)?, 1),
        "T" => (exponent(12)?, 1),
        "P" => (exponent(15)?, 1),
        "E" => (exponent(18)?, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        other => {
            let power: i32 = other.strip_prefix(['e', 'E'])?.parse().ok()?;
            match power >= 0 {
                true => (exponent(power.unsigned_abs())?, 1),
                false => (1, exponent(power.unsigned_abs())?),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        let table = [
            ("10M", 10_000_000),
            ("1k", 1_000),
            ("512Ki", 524_288),
            ("1.5G", 1_500_000_000),
            (".5k", 500),
            ("5.", 5),
            ("100", 100),
            ("1500m", 2),
            ("1n", 1),
            ("0", 0),
            ("1e6", 1_000_000),
            ("12E-1", 2),
            ("+3", 3),
            ("1E", 1_000_000_000_000_000_000),
            ("1Ei", 1 << 60),
        ];
        for (text, value) in table {
            assert_eq!(parse_quantity(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for bad in [
            "",
            ".",
            "M",
            "-1",
            "1 M",
            "10X",
            "1.2.3",
            "1e",
            "1e99",
            "99999999999999999999",
            "20E",
            "1KI",
            "0x10",
            "1.0000000000001",
        ] {
            assert_eq!(
                parse_quantity(bad),
                Err(QuantityError(bad.to_owned())),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,24}") {
            let _ = parse_quantity(&text);
        }

        #[test]
        fn plain_numbers_are_themselves(value: u64) {
            prop_assert_eq!(parse_quantity(&value.to_string()), Ok(value));
        }
    }
}
