//! Pictures and videos of an offer, and the addresses that it gives relative to the shop's.

use serde_json::json;

use super::super::super::record::ProblemKind;
use super::super::text;
use super::{Field, Offer, OfferProblem};

const MAX_URL_CHARS: usize = 2048;
const MAX_PHOTOS: usize = 50;

impl Offer {
    /// The pictures, and after them the videos, as a JSON array.
    pub(super) fn photos(&self, remarks: &mut Vec<OfferProblem>) -> Option<String> {
        let pictures = self.urls(Field::Picture, remarks);
        let videos = self.urls(Field::Video, remarks);
        let picture = |url: &String| json!({ "url": url });
        let video = |url: &String| json!({ "url": url, "video": url, "type": "video" });
        let photos: Vec<_> = pictures.iter().map(picture).chain(videos.iter().map(video)).take(MAX_PHOTOS).collect();
        (!photos.is_empty()).then(|| serde_json::Value::from(photos).to_string())
    }

    /// The page of the item in the shop.
    pub(super) fn url(&self) -> Option<String> {
        self.all(Field::Url).find_map(|url| resolve(&text::line(url), self.shop_url.as_deref()))
    }

    fn urls(&self, field: Field, remarks: &mut Vec<OfferProblem>) -> Vec<String> {
        let mut urls: Vec<String> = Vec::new();
        let mut is_any_unusable = false;
        for texts in self.all(field).map(text::line) {
            for url in texts.split(" | ").map(|url| url.trim_matches([' ', '|'])).filter(|url| !url.is_empty()) {
                match resolve(url, self.shop_url.as_deref()) {
                    Some(url) if urls.len() < MAX_PHOTOS && !urls.contains(&url) => urls.push(url),
                    Some(_) => {}
                    None => is_any_unusable = true,
                }
            }
        }
        if is_any_unusable {
            remarks.push((ProblemKind::Corrected, "a picture or video has no usable address: left out"));
        }
        urls
    }
}

/// An address of HTTP, resolved against the shop's where it is relative (RFC 3986, 5.2, without dot segments). `None`: it is of another
/// scheme, relative without a shop's address, or longer than 2048 characters.
fn resolve(url: &str, shop_url: Option<&str>) -> Option<String> {
    let shop = shop_url.and_then(http_parts);
    let resolved = if http_parts(url).is_some() {
        url.to_owned()
    } else if let Some(rest) = url.strip_prefix("//") {
        let scheme = shop.map_or("https", |(scheme, ..)| scheme);
        if rest.is_empty() { return None } else { format!("{scheme}:{url}") }
    } else {
        let (scheme, host, path) = shop?;
        // What has a scheme is not relative.
        let before_colon = url.split(['/', '?', '#']).next().unwrap_or_default();
        if before_colon.contains(':') || url.is_empty() || url.starts_with(['?', '#']) {
            return None;
        }
        match url.strip_prefix('/') {
            Some(rest) => format!("{scheme}://{host}/{rest}"),
            None => format!(
                "{scheme}://{host}/{}{url}",
                path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"))
            ),
        }
    };
    let resolved = resolved.replace(' ', "%20");
    (resolved.chars().count() <= MAX_URL_CHARS).then_some(resolved)
}

/// The scheme, the host and the path without its first slash; `None` when it is no absolute address of HTTP.
fn http_parts(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    if !["http", "https"].iter().any(|http| scheme.eq_ignore_ascii_case(http)) {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    (!host.is_empty()).then_some((scheme, host, path.strip_prefix('/').unwrap_or(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_addresses_are_resolved_against_the_shops() {
        let shop = Some("https://shop.example/catalog/index.php?a=/b");
        for (url, resolved) in [
            ("HTTP://a/1.jpg", Some("HTTP://a/1.jpg")),
            ("//t/2.jpg", Some("https://t/2.jpg")),
            ("/upload/3 x.jpg", Some("https://shop.example/upload/3%20x.jpg")),
            ("3.jpg?w=1", Some("https://shop.example/catalog/3.jpg?w=1")),
            ("http://", None),
            ("//", None),
            ("", None),
            ("ftp://a/4.jpg", None),
            ("javascript:alert(1)", None),
            ("data:image/png;base64,AA/A", None),
            ("#top", None),
        ] {
            assert_eq!(resolve(url, shop).as_deref(), resolved, "{url}");
        }
        assert_eq!(resolve("3.jpg", Some("http://shop.example")).as_deref(), Some("http://shop.example/3.jpg"));
        assert_eq!(resolve("//t/2.jpg", None).as_deref(), Some("https://t/2.jpg"));
        for shop in [None, Some("shop.example"), Some("ftp://shop.example/")] {
            assert_eq!(resolve("/3.jpg", shop), None, "{shop:?}");
        }
        assert_eq!(resolve(&format!("/{}", "x".repeat(2048)), shop), None);
    }
}
