//! One browser at one shop: it keeps and sends the cookies that it is given, as browsers do.

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

    /// The same browser at another instance, with the same cookies.
    pub fn at(&self, client: Client) -> BrowserClient {
        BrowserClient { client, cookies: Mutex::new(self.jar().clone()) }
    }

    fn jar(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.cookies.lock().expect("no test panics in here")
    }

    /// The value of a cookie that it holds.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar().get(name).cloned()
    }

    /// Takes a cookie that it was given by nobody.
    pub fn set_cookie(&self, name: &str, value: &str) {
        self.jar().insert(name.to_owned(), value.to_owned());
    }

    pub async fn send(&self, request: TestRequest) -> TestResponse {
        let answer = self.client.send(self.with_cookies(request)).await;
        for set in answer.headers.get_all("set-cookie") {
            let set = set.to_str().expect("ASCII");
            let (name, value) = set.split(';').next().and_then(|pair| pair.split_once('=')).expect("a pair");
            match set.contains("Max-Age=0;") {
                true => self.jar().remove(name),
                false => self.jar().insert(name.to_owned(), value.to_owned()),
            };
        }
        answer
    }

    /// The request with the cookies of this moment.
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

    /// `(itemID, quantity)` of every line of its cart.
    pub async fn cart(&self) -> Vec<(u64, u64)> {
        let cart = self.get("/cart").await.ok_json();
        let number = |line: &Value, name: &str| line[name].as_u64().expect("a number");
        let lines = cart.as_array().expect("a list").iter();
        lines.map(|line| (number(line, "itemID"), number(line, "quantity"))).collect()
    }
}
