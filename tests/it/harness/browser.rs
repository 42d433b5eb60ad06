//! An HTTP client with a cookie jar, which acts as one browser at one shop.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::client::{Client, TestRequest, TestResponse, request};

pub struct BrowserClient {
    client: Client,
    cookies: Mutex<BTreeMap<String, String>>,
}

impl BrowserClient {
    pub fn new(client: Client) -> BrowserClient {
        BrowserClient { client, cookies: Mutex::default() }
    }

    /// A client of another instance with a copy of the cookies.
    pub fn at(&self, client: Client) -> BrowserClient {
        BrowserClient { client, cookies: Mutex::new(self.jar().clone()) }
    }

    fn jar(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.cookies.lock().expect("no panic while locked")
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar().get(name).cloned()
    }

    /// Sets a cookie that no response has set.
    pub fn set_cookie(&self, name: &str, value: &str) {
        self.jar().insert(name.to_owned(), value.to_owned());
    }

    pub async fn send(&self, request: TestRequest) -> TestResponse {
        let response = self.client.send(self.with_cookies(request)).await;
        for set_cookie in response.headers.get_all("set-cookie") {
            let set_cookie = set_cookie.to_str().expect("ASCII");
            let (name, value) =
                set_cookie.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie pair");
            match set_cookie.contains("Max-Age=0;") {
                true => self.jar().remove(name),
                false => self.jar().insert(name.to_owned(), value.to_owned()),
            };
        }
        response
    }

    /// The request with the current cookies.
    pub fn with_cookies(&self, request: TestRequest) -> TestRequest {
        let pairs: Vec<String> = self.jar().iter().map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { request } else { request.header("cookie", pairs.join("; ")) }
    }

    pub async fn get(&self, path: &str) -> TestResponse {
        self.send(request(path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> TestResponse {
        self.write("POST", path, body).await
    }

    pub async fn write(&self, method: &str, path: &str, body: &Value) -> TestResponse {
        self.send(request(path).method(method).header("content-type", "application/json").body(body.to_string())).await
    }

    pub async fn add_to_cart(&self, item_id: u64, quantity: u64) {
        self.post("/cart", &json!({"itemID": item_id, "quantity": quantity})).await.ok_json();
    }

    /// `(itemID, quantity)` of every line of the cart.
    pub async fn cart(&self) -> Vec<(u64, u64)> {
        let cart = self.get("/cart").await.ok_json();
        let number = |line: &Value, name: &str| line[name].as_u64().expect("a number");
        let lines = cart.as_array().expect("a list").iter();
        lines.map(|line| (number(line, "itemID"), number(line, "quantity"))).collect()
    }
}
