//! An HTTP client with a cookie jar, which acts as one browser at one shop.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::client::{BoxError, Client, TestRequest, TestResponse, request};

pub(crate) struct BrowserClient {
    client: Client,
    cookies: Mutex<BTreeMap<String, String>>,
}

impl BrowserClient {
    pub(crate) fn new(client: Client) -> BrowserClient {
        BrowserClient { client, cookies: Mutex::default() }
    }

    /// A client of another instance with a copy of the cookies.
    pub(crate) fn at(&self, client: Client) -> BrowserClient {
        BrowserClient { client, cookies: Mutex::new(self.jar().clone()) }
    }

    fn jar(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.cookies.lock().expect("no panic while locked")
    }

    /// The value of a cookie.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.jar().get(name).cloned()
    }

    /// Sets a cookie that no response has set.
    pub(crate) fn set_cookie(&self, name: &str, value: &str) {
        self.jar().insert(name.to_owned(), value.to_owned());
    }

    pub(crate) async fn send(&self, request: TestRequest) -> TestResponse {
        let response = self.client.send(self.with_cookies(request)).await;
        self.store_cookies(&response);
        response
    }

    /// # Errors
    /// The connection failed before the response was complete.
    pub(crate) async fn try_send(&self, request: TestRequest) -> Result<TestResponse, BoxError> {
        let response = self.client.try_send(self.with_cookies(request)).await?;
        self.store_cookies(&response);
        Ok(response)
    }

    fn store_cookies(&self, response: &TestResponse) {
        for set_cookie in response.headers.get_all("set-cookie") {
            let set_cookie = set_cookie.to_str().expect("ASCII");
            let (name, value) =
                set_cookie.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie pair");
            match set_cookie.contains("Max-Age=0;") {
                true => self.jar().remove(name),
                false => self.jar().insert(name.to_owned(), value.to_owned()),
            };
        }
    }

    /// The values of all cookies.
    pub(crate) fn cookie_values(&self) -> Vec<String> {
        self.jar().values().cloned().collect()
    }

    /// The request with the current cookies.
    pub(crate) fn with_cookies(&self, request: TestRequest) -> TestRequest {
        let pairs: Vec<String> = self.jar().iter().map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { request } else { request.header("cookie", pairs.join("; ")) }
    }

    pub(crate) async fn get(&self, path: &str) -> TestResponse {
        self.send(request(path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> TestResponse {
        self.write("POST", path, body).await
    }

    pub(crate) async fn write(&self, method: &str, path: &str, body: &Value) -> TestResponse {
        self.send(request(path).method(method).header("content-type", "application/json").body(body.to_string())).await
    }

    pub(crate) async fn add_to_cart(&self, item_id: u64, quantity: u64) {
        self.post("/cart", &json!({"itemID": item_id, "quantity": quantity})).await.ok_json();
    }

    /// `(itemID, quantity)` of every line of the cart.
    pub(crate) async fn cart(&self) -> Vec<(u64, u64)> {
        let cart = self.get("/cart").await.ok_json();
        let number = |line: &Value, name: &str| line[name].as_u64().expect("a number");
        let lines = cart.as_array().expect("a list").iter();
        lines.map(|line| (number(line, "itemID"), number(line, "quantity"))).collect()
    }
}
