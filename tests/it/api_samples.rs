//! The API guide, `src/openapi/README.md`: its JavaScript samples run, and its table of errors is complete.
//!
//! The samples are the fenced blocks behind `<!-- run: NAME -->` and form one program in their order. Node runs it as a page of the
//! shop would: with the page's origin, with the cookies that it receives, and with no header that CORS forbids.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::harness::{
    BrowserClient, Gateway, Process, Sandbox, Site, TelegramUser, certificates, eventually_async, login, request,
};
use crate::openapi::codes_of_the_sources;

/// What a browser adds to `fetch`. Pauses between polls are a tenth as long.
const PAGE: &str = r"
const origin = 'https://dexarmarket.ru', cookies = new Map(), send = globalThis.fetch, later = globalThis.setTimeout;
globalThis.setTimeout = (run, ms, ...more) => later(run, ms === 3000 ? 300 : ms, ...more);
globalThis.fetch = async (url, options) => {
  const headers = new Headers(options.headers);
  for (const [name] of headers) {
    if (!['content-type', 'x-region', 'x-language'].includes(name)) throw new Error(`CORS does not allow ${name}`);
  }
  if (options.credentials !== 'include') throw new Error(`${url} without cookies`);
  headers.set('origin', origin);
  headers.set('cookie', [...cookies].map(([name, value]) => `${name}=${value}`).join('; '));
  const response = await send(url, {...options, headers});
  if (response.headers.get('access-control-allow-origin') !== origin) throw new Error(`${url} is not readable by this origin`);
  for (const line of response.headers.getSetCookie()) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
    if (line.includes('Max-Age=0;')) cookies.delete(name); else cookies.set(name, value);
  }
  return response;
};
";

fn api_guide() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/openapi/README.md");
    std::fs::read_to_string(path).expect("the API guide is readable")
}

/// `(name, code)` of every sample.
fn samples(guide: &str) -> Vec<(&str, &str)> {
    let marked =
        guide.split("<!-- run: ").skip(1).map(|rest| rest.split_once(" -->\n```js\n").expect("a block follows"));
    marked.map(|(name, rest)| (name, rest.split_once("\n```\n").expect("the block is closed").0)).collect()
}

#[tokio::test]
async fn samples_of_the_api_guide_run_unchanged() {
    let mut site = Site::new(&["dexar", "novo"]);
    let sandbox = Sandbox::start(&mut site);
    site.import_demo("dexar");
    let gateway = site.start();
    let _workers = site.start_workers();
    let guide = api_guide();
    let samples = samples(&guide);
    let names: Vec<&str> = samples.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["call", "first", "errors", "cart", "login", "pay", "orders", "mail"]);
    let blocks = guide.matches("```js").count();
    assert_eq!(blocks, samples.len(), "every JavaScript block is run");
    let code: String = samples.iter().map(|(_, code)| format!("{code}\n")).collect();
    let (documented, actual) =
        ("https://localhost:445", format!("https://localhost:{}", gateway.address("dexar").port()));
    assert_eq!(code.matches(documented).count(), 1);
    let program = site.directory.write("samples.mjs", PAGE.to_owned() + &code.replace(documented, &actual));
    let node = Process::start("node", "node", site.directory.path(), |command| {
        command.arg(program).env("NODE_EXTRA_CA_CERTS", certificates().join("ca.pem"));
    });

    let line = async |prefix: &str| {
        let find = async || {
            assert!(node.exit_status().is_none_or(|status| status.success()), "{}", node.log());
            node.log().lines().find(|line| line.starts_with(prefix)).map(str::to_owned)
        };
        eventually_async(&format!("a line that starts with {prefix}"), 30, find).await
    };
    line("Only ").await;
    let prompt = line("Open ").await;
    let token = prompt.split("start=").nth(1).and_then(|rest| rest.split(' ').next()).expect("a link");
    let code = prompt.rsplit(' ').next().expect("a number").to_owned();
    let begun = login::PendingLogin { code, command: format!("/start {token}") };
    let person = TelegramUser::new(42, "Anna", "en");
    let question = login::press_start(&sandbox, "dexar", &person, &begun).await;
    sandbox.press_button("dexar", &person, &login::button(&question, &begun.code)).await;

    line("Pay with ").await;
    let qr = sandbox.qrs().await.remove(0);
    sandbox.bank_action(qr["qrId"].as_str().expect("a code"), "pay", json!({"notify": false})).await;
    line("COMPLETED").await;
    assert!(node.await_exit().success(), "{}", node.log());
    assert_eq!(sandbox.await_emails(1).await[0]["to"], json!(["anna@example.com"]));
    assert_is_reviewed(&gateway).await;
}

async fn assert_is_reviewed(gateway: &Gateway) {
    let answer =
        BrowserClient::new(gateway.client("dexar")).send(request("/searchitems?search=chair").language("en")).await;
    let newest = &answer.ok_json()["items"][0]["comments"][0];
    assert_eq!(newest["text"], "A good chair.");
}

#[test]
fn error_table_lists_every_code_once_with_its_status() {
    let guide = api_guide();
    let table =
        guide.split("| Status | `code` | What to do |\n|---|---|---|\n").nth(1).expect("the guide has the table");
    let mut listed: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        let statuses: Vec<u16> = cells[0].split(", ").map(|status| status.parse().expect("a status")).collect();
        for code in cells[1].split('`').skip(1).step_by(2) {
            assert!(listed.insert(code.to_owned(), statuses.clone()).is_none(), "{code} is listed twice");
        }
    }
    let codes = codes_of_the_sources();
    assert_eq!(listed.keys().collect::<Vec<_>>(), codes.keys().collect::<Vec<_>>());
    for (code, status) in codes {
        assert!(listed[&code].contains(&status), "{code} is {status}");
    }
}
