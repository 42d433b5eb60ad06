//! The embedded files of `shop/`, with their paths and content types.

/// An embedded file.
pub(super) struct File {
    pub content_type: &'static str,
    pub bytes: &'static [u8],
}

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../shop/", $name)).as_slice())),*]
    };
}

const FILES: &[(&str, &[u8])] = embedded![
    "index.html",
    "icon.svg",
    "style.css",
    "skins.css",
    "main.js",
    "api.js",
    "router.js",
    "preferences.js",
    "i18n.js",
    "icons.js",
    "texts/ru.js",
    "texts/en.js",
    "texts/hy.js",
    "money.js",
    "price_tag.js",
    "ui.js",
    "catalog.js",
    "search.js",
    "suggest.js",
    "filters.js",
    "item.js",
    "cart.js",
    "session.js",
    "login.js",
    "qr.js",
    "checkout.js",
    "payment.js",
    "email.js",
    "review.js",
    "question.js",
];

/// The page of every route of the shop.
const PAGE: &str = "index.html";

/// The file of a path. A path whose last segment has no dot is a route of the page.
pub(super) fn find(path: &str) -> Option<File> {
    let name = path.strip_prefix('/').unwrap_or(path);
    let is_route = !name.rsplit('/').next().unwrap_or_default().contains('.');
    let name = if is_route { PAGE } else { name };
    let (name, bytes) = FILES.iter().find(|(known, _)| *known == name)?;
    Some(File { content_type: content_type(name), bytes })
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn routes_get_the_page_and_files_their_content() {
        for path in ["/", "/cart", "/category/sub_tableware", "/search"] {
            assert_eq!(find(path).expect("the page").content_type, "text/html; charset=utf-8", "{path}");
        }
        assert_eq!(find("/texts/hy.js").expect("a module").content_type, "text/javascript; charset=utf-8");
        for path in ["/none.js", "/texts/../main.js", "/storefront.rs", "//main.js"] {
            assert!(find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn every_file_of_the_shop_is_served() {
        let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/sandbox/shop");
        let mut seen = 0;
        for directory in [shop.clone(), shop.join("texts")] {
            for entry in std::fs::read_dir(&directory).expect("it is there") {
                let path = entry.expect("readable").path();
                if path.is_file() {
                    let name = path.strip_prefix(&shop).expect("below it").to_str().expect("UTF-8");
                    assert!(FILES.iter().any(|(known, _)| *known == name), "{name} is not in the list");
                    assert_ne!(content_type(name), "application/octet-stream", "{name}");
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, FILES.len());
    }
}
