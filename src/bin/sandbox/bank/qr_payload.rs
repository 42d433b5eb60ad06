//! The contents of an SBP QR code: its id, its URL with the checksum and its image.

use bytes::Bytes;
use fast_qr::qr::QRBuilder;

use super::amount::Amount;
use super::qr::QrType;

/// Raiffeisenbank's member id in the SBP: `bank=` in the samples of `sbp.yaml`.
const MEMBER: &str = "100000000007";

/// The side of a module in pixels: at one bit per pixel, a module's row is one byte.
const MODULE_PIXELS: usize = 8;
/// The quiet zone (ISO/IEC 18004).
const MARGIN_MODULES: usize = 4;

/// `AD100004BAL7227F9BNP6KNE007J9B3K`: D or S for the kind, `1000`, and 128 random bits in 26 digits of base32hex (RFC
/// 4648).
pub fn id(kind: QrType) -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system provides random bytes");
    id_of(kind, u128::from_be_bytes(bytes))
}

fn id_of(kind: QrType, bits: u128) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";
    let digits = (0..26).rev().map(|position| usize::from((bits >> (5 * position)) as u8 & 31));
    let digits: String = digits.map(|digit| char::from(DIGITS[digit])).collect();
    let kind_letter = if kind == QrType::Dynamic { 'D' } else { 'S' };
    format!("A{kind_letter}1000{digits}")
}

/// `https://qr.nspk.ru/AD10…?type=02&bank=100000000007&sum=111000&cur=RUB&crc=AB75`.
pub fn url(kind: QrType, id: &str, amount: Option<Amount>) -> String {
    let kind = if kind == QrType::Dynamic { "02" } else { "01" };
    let sum = amount.map(|amount| format!("&sum={}&cur=RUB", amount.kopecks())).unwrap_or_default();
    let url = format!("https://qr.nspk.ru/{id}?type={kind}&bank={MEMBER}{sum}");
    let crc = crc(url.as_bytes());
    format!("{url}&crc={crc:04X}")
}

/// CRC-16/CCITT-FALSE of the whole URL before `&crc=`.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    })
}

/// The QR code as a PNG.
pub fn image(payload: &str) -> Bytes {
    let code = QRBuilder::new(payload).build().expect("a URL of a hundred characters fits into a QR code");
    let modules = code.size + 2 * MARGIN_MODULES;
    let inside = |position: usize| position.checked_sub(MARGIN_MODULES).filter(|position| *position < code.size);
    let dark = |row: usize, column: usize| match (inside(row), inside(column)) {
        (Some(row), Some(column)) => code[row][column].value(),
        _ => false,
    };
    let mut pixels = Vec::with_capacity(modules * modules * MODULE_PIXELS);
    for row in 0..modules {
        let line: Vec<u8> = (0..modules).map(|column| if dark(row, column) { 0x00 } else { 0xFF }).collect();
        for _ in 0..MODULE_PIXELS {
            pixels.extend_from_slice(&line);
        }
    }
    let side = u32::try_from(modules * MODULE_PIXELS).expect("a QR code has at most 185 modules");
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
    written.expect("writing to a Vec cannot fail, and the size matches the header");
    file.into()
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;

    #[test]
    fn url_matches_the_sample() {
        let url = url(QrType::Dynamic, "AD100004BAL7227F9BNP6KNE007J9B3K", Some(Amount(Decimal::new(1, 2))));
        let sample =
            "https://qr.nspk.ru/AD100004BAL7227F9BNP6KNE007J9B3K?type=02&bank=100000000007&sum=1&cur=RUB&crc=AB75";
        assert_eq!(url, sample);
        assert_eq!(crc(b"123456789"), 0x29B1, "the check value of CRC-16/CCITT-FALSE");
    }

    #[test]
    fn amount_is_in_kopecks_and_optional() {
        let roubles = |text: &str| Some(Amount(text.parse().expect("a decimal")));
        assert!(url(QrType::Dynamic, "A", roubles("1110.00")).contains("&sum=111000&cur=RUB&crc="));
        assert!(url(QrType::Dynamic, "A", roubles("10.1")).contains("&sum=1010&cur=RUB&crc="));
        assert!(url(QrType::Static, "A", None).starts_with("https://qr.nspk.ru/A?type=01&bank=100000000007&crc="));
    }

    #[test]
    fn id_has_the_format_of_the_samples() {
        assert_eq!(id_of(QrType::Dynamic, 0), "AD100000000000000000000000000000");
        assert_eq!(id_of(QrType::Static, u128::MAX), "AS10007VVVVVVVVVVVVVVVVVVVVVVVVV");
        let id = id(QrType::Dynamic);
        assert_eq!(id.len(), 32);
        assert!(id.starts_with("AD1000"));
        assert!(id.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'V').contains(&b)), "{id}");
        assert!((b'0'..=b'7').contains(&id.as_bytes()[6]), "{id}");
    }

    #[test]
    fn image_is_a_png() {
        let file = image("https://qr.nspk.ru/AD100004BAL7227F9BNP6KNE007J9B3K?type=02&bank=100000000007&crc=AB75");
        assert!(file.starts_with(b"\x89PNG\r\n\x1a\n"));
    }
}
