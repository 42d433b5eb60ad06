// Every page and state of both shops, of the sandbox and of the API's login pages, audited with axe-core.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { hasNoViolations } from './audit.mjs';
import { isSandboxProblem, isStatus, visitorOf } from './browser.mjs';
import { bankAction, checkOut, visitorWithCart } from './checkout.mjs';
import { SANDBOX, SHOPS, fetchJson } from './environment.mjs';
import { logIn, newUser } from './telegram.mjs';

/** The language in which a shop is audited. */
const LANGUAGES = { dexar: 'ru', novo: 'hy' };
/** A word that finds something in it. */
const WORDS = { dexar: 'чай', novo: 'станция' };
const PHONE = { width: 360, height: 740 };

for (const shop of SHOPS) {
  const language = LANGUAGES[shop.brand];

  test(`${shop.title}: the catalogue is accessible`, async () => {
    const visitor = await visitorOf(shop);
    const { page } = visitor;
    await page.goto(shop.url);
    await page.locator('dialog select').first().waitFor();
    await visitor.settled();
    await hasNoViolations(page, 'the choice of language and region');
    await page.keyboard.press('Escape');
    await visitor.enter(language);
    await hasNoViolations(page, 'the home page');
    await page.locator('#skip').focus();
    await hasNoViolations(page, 'the link to the content');
    await page.locator('.tile').first().click();
    await page.locator('.trail').waitFor();
    await hasNoViolations(page, 'a category');
    await page.locator('.card .add').first().click();
    await messageStays(page);
    await hasNoViolations(page, 'a message', '#messages');
    await page.locator('.filters summary').click();
    await hasNoViolations(page, 'the filters of a category');
    await page.locator('input[type=search]').fill(WORDS[shop.brand]);
    await page.locator('#suggestions li').first().waitFor();
    await page.keyboard.press('ArrowDown');
    await hasNoViolations(page, 'suggestions');
    await page.keyboard.press('Enter');
    await page.locator('.found').waitFor();
    await page.locator('.filters summary').click();
    await hasNoViolations(page, 'a search and its filters');
    await visitor.visit('/search?q=qqqqqqqq');
    await hasNoViolations(page, 'a search without hits');
    await visitor.visit('/nowhere');
    await hasNoViolations(page, 'an unknown page');
    await visitor.leave();
  });

  test(`${shop.title}: an item is accessible`, async () => {
    const visitor = await visitorOf(shop);
    const { page } = visitor;
    const item = await itemWithQuestions(shop);
    await visitor.enter(language);
    await visitor.visit(`/item/${item.itemID}`);
    await hasNoViolations(page, 'an item');
    for (const summary of await page.locator('.write summary').all()) await summary.click();
    await page.locator('.write input[value="3"]').check({ force: true });
    await page.locator('.write textarea').first().fill('\u2800');
    visitor.allow(isStatus(400, '/comment'));
    await page.locator('#reviews .write .primary').click();
    await page.locator('.note.error').waitFor();
    await hasNoViolations(page, 'a rejected review');
    await visitor.leave();
  });

  test(`${shop.title}: the cart is accessible`, async () => {
    const visitor = await visitorOf(shop);
    const { page } = visitor;
    await visitor.enter(language);
    await visitor.visit('/cart');
    await hasNoViolations(page, 'an empty cart');
    await visitor.visit('/payment');
    await hasNoViolations(page, 'nothing to pay');
    // The last line is sold out meanwhile.
    const items = await fetchJson(`${shop.api}/randomitems?count=3`);
    items.forEach((item, index) => Object.assign(item, { quantity: index + 1, remainings: index < 2 ? 'low' : 'out' }));
    await page.route(`${shop.api}/cart`, (route) => route.fulfill(jsonResponse(visitor, 200, items)));
    await visitor.visit('/cart');
    await page.locator('.line').first().waitFor();
    await hasNoViolations(page, 'a cart with a sold-out line');
    await page.unrouteAll();
    visitor.allow(({ text }) => text.includes('ERR_INTERNET_DISCONNECTED'));
    await visitor.context.setOffline(true);
    await page.locator('.logo').click();
    await page.locator('#outage').waitFor();
    await hasNoViolations(page, 'an outage');
    await visitor.context.setOffline(false);
    await messageStays(page);
    await hasNoViolations(page, 'the end of an outage', '#messages');
    await visitor.leave();
  });

  test(`${shop.title}: the login is accessible`, async () => {
    const visitor = await visitorOf(shop);
    const { page } = visitor;
    await visitor.enter(language);
    await page.locator('button.account').click();
    await page.getByRole('dialog').waitFor();
    await hasNoViolations(page, 'the login');
    await page.locator('.attempt button').click();
    await page.locator('#login-code').waitFor();
    await hasNoViolations(page, 'the number of a login');
    await page.keyboard.press('Escape');
    await logIn(visitor, newUser('Aram'));
    await page.locator('button.account').click();
    await page.locator('.account-panel').waitFor();
    await hasNoViolations(page, 'the account');
    await visitor.leave();
  });

  test(`${shop.title}: a payment is accessible`, async () => {
    const { visitor } = await visitorWithCart(shop, language);
    const { page } = visitor;
    await hasNoViolations(page, 'the cart');
    const expired = await checkOut(visitor);
    await page.locator('img.qr').evaluate((image) => image.decode());
    await hasNoViolations(page, 'a payment');
    await bankAction(expired, 'expire');
    await page.locator('.payment .note').waitFor();
    await hasNoViolations(page, 'an expired payment');
    await page.locator('.payment .primary').click();
    const qrId = await page.locator('img.qr').getAttribute('data-qr');
    await bankAction(qrId, 'pay');
    await page.locator('input[type=email]').waitFor();
    await page.locator('.write summary').first().click();
    await hasNoViolations(page, 'a paid order');
    await visitor.leave();
  });

  for (const [state, status, body] of [
    ['a payment without the bank', 502, { error: 'the bank does not answer', code: 'bad_gateway' }],
    ['a payment with another amount', 422, { error: 'the amount is another one', code: 'amount_mismatch', amount: 123.45 }],
  ]) {
    test(`${shop.title}: ${state} is accessible`, async () => {
      const { visitor } = await visitorWithCart(shop, language);
      const { page } = visitor;
      visitor.allow(isStatus(status, '/cart'));
      const isPayment = (request) => request.method() === 'POST' && request.postData()?.includes('siteorderID');
      await page.route(`${shop.api}/cart`, (route) => (isPayment(route.request()) ? route.fulfill(jsonResponse(visitor, status, body)) : route.continue()));
      await page.locator('.summary .primary').click();
      await page.locator('.note.error').waitFor();
      await hasNoViolations(page, state);
      await visitor.leave();
    });
  }

  test(`${shop.title}: the login pages of the API are accessible`, async () => {
    const visitor = await visitorOf(shop);
    const { page } = visitor;
    visitor.allow(isSandboxProblem);
    await visitor.enter(language);
    await page.goto(`${shop.api}/auth/telegram/start`);
    await hasNoViolations(page, 'the page of a login');
    await page.goto(`${SANDBOX}/telegram/${shop.bot}?start=auth_https`);
    await page.getByRole('button', { name: 'START' }).click();
    await page.goto(await page.locator('#log .row a').last().getAttribute('href'));
    await hasNoViolations(page, 'the confirmation of a login');
    visitor.allow(isStatus(400, '/auth/telegram/callback'));
    visitor.allow(isStatus(401, '/auth/telegram/callback'));
    await page.goto(`${shop.api}/auth/telegram/callback?id=1`);
    await hasNoViolations(page, 'a failed login');
    await visitor.leave();
  });

  test(`${shop.title}: the sandbox and the emails are accessible`, async () => {
    const { visitor } = await visitorWithCart(shop, language);
    const { page } = visitor;
    const qrId = await checkOut(visitor);
    const sandbox = await visitor.open();
    await sandbox.goto(SANDBOX);
    await hasNoViolations(sandbox, 'the sandbox');
    await sandbox.goto(`${SANDBOX}/bank?qr=${qrId}`);
    await sandbox.locator('.code.selected').waitFor();
    await hasNoViolations(sandbox, 'the bank');
    await bankAction(qrId, 'progress');
    await sandbox.locator('.code.selected .IN_PROGRESS').waitFor();
    await hasNoViolations(sandbox, 'a payment in progress at the bank');
    await bankAction(qrId, 'pay');
    await sandbox.locator('.code.selected .PAID').waitFor();
    await hasNoViolations(sandbox, 'a paid code at the bank');
    const email = `audit-${shop.brand}-${Date.now()}@example.com`;
    await page.locator('input[type=email]').fill(email);
    await page.locator('form:has(input[type=email]) button').click();
    await page.locator('.note.success').nth(1).waitFor();
    await sandbox.goto(`${SANDBOX}/mail`);
    await sandbox.locator('nav button', { hasText: email }).click();
    await hasNoViolations(sandbox, 'the mailbox');
    await sandbox.locator('#tab-text').click();
    await hasNoViolations(sandbox, 'an email as text');
    const { html } = (await fetchJson(`${SANDBOX}/mail`)).find(({ to }) => to.includes(email));
    await sandbox.goto('about:blank');
    await sandbox.setContent(html);
    await hasNoViolations(sandbox, 'an email');
    await sandbox.goto(`${SANDBOX}/telegram`);
    await hasNoViolations(sandbox, 'the list of bots');
    await sandbox.goto(`${SANDBOX}/telegram/${shop.bot}?start=auth_https`);
    await sandbox.locator('#start').waitFor();
    await hasNoViolations(sandbox, 'a chat before its start');
    await sandbox.locator('#start').click();
    await sandbox.locator('#log .row').last().waitFor();
    await sandbox.locator('#people').selectOption('new');
    await hasNoViolations(sandbox, 'a chat');
    await visitor.leave();
  });

  test(`${shop.title}: on a phone nothing covers the pictures`, async () => {
    const visitor = await visitorOf(shop, PHONE);
    const { page } = visitor;
    await visitor.enter(language);
    const [category] = await fetchJson(`${shop.api}/category`);
    let badges = 0;
    for (const path of ['/', `/category/${category.id}`]) {
      await visitor.visit(path);
      const cards = await page.locator('.card').evaluateAll(measure);
      for (const { name, photo, others } of cards) {
        for (const other of others) assert.ok(!overlap(photo, other), `${other.text} covers the picture of ${name}`);
        badges += others.filter(({ isBadge }) => isBadge).length;
      }
    }
    assert.ok(badges > 0, 'the catalogue has badges');
    await visitor.leave();
  });

  test(`${shop.title}: Armenian prices and dates need no locale data`, async () => {
    const visitor = await visitorOf(shop);
    const { page } = visitor;
    await visitor.context.addInitScript(() => {
      for (const name of ['NumberFormat', 'DateTimeFormat', 'PluralRules', 'RelativeTimeFormat']) delete Intl[name];
      for (const type of [Number, Date]) for (const name of Object.getOwnPropertyNames(type.prototype)) if (name.startsWith('toLocale')) delete type.prototype[name];
    });
    await visitor.enter('hy');
    await logIn(visitor, newUser('Aram'));
    await page.locator('button.account').click();
    const until = await page.locator('.account-panel .hint').innerText();
    assert.match(until, / \d{1,2} (հունվարի|փետրվարի|մարտի|ապրիլի|մայիսի|հունիսի|հուլիսի|օգոստոսի|սեպտեմբերի|հոկտեմբերի|նոյեմբերի|դեկտեմբերի), 20\d\d թ\., \d\d:\d\d/);
    await page.keyboard.press('Escape');
    for (const [price, discount, shown] of [[999, 0, '999 ₽'], [1234567.5, 0, '1 234 567,50 ₽'], [1000, 5, '950 ₽']]) {
      const [item] = await fetchJson(`${shop.api}/randomitems?count=1`);
      await page.route(`${shop.api}/item/${item.itemID}`, (route) => route.fulfill(jsonResponse(visitor, 200, { ...item, price, discount })));
      await visitor.visit(`/item/${item.itemID}`);
      assert.equal((await page.locator('.buy .price strong').innerText()).replaceAll('\u00a0', ' '), shown);
    }
    await visitor.leave();
  });
}

/** Waits for a temporary message, and shows another one like it for good. */
async function messageStays(page) {
  await page.locator('.message').first().evaluate((message) => message.parentElement.append(message.cloneNode(true)));
}

/** A response of the API to the shop's page. */
function jsonResponse({ shop }, status, body) {
  const headers = { 'Access-Control-Allow-Origin': shop.url, 'Access-Control-Allow-Credentials': 'true' };
  return { status, json: body, headers };
}

/** An item with an answered question and a review. */
async function itemWithQuestions(shop) {
  for (const category of await fetchJson(`${shop.api}/category`)) {
    const items = await fetchJson(`${shop.api}/category/${category.id}?count=200`);
    const item = items.find(({ questions, comments }) => questions.length > 0 && comments.length > 0);
    if (item) return item;
  }
  return assert.fail('the demonstration catalogue has no item with questions and reviews');
}

/** In the browser: the boxes of the picture of every card, and of the texts beside it. */
function measure(cards) {
  const box = (element) => {
    const { left, top, right, bottom } = element.getBoundingClientRect();
    return { left, top, right, bottom, text: element.innerText, isBadge: element.matches('.badge') };
  };
  return cards.map((card) => ({
    name: card.querySelector('.name').innerText,
    photo: box(card.querySelector('.photo')),
    others: [...card.querySelectorAll('.badge, .name, .facts > *, .price, .add')].map(box),
  }));
}

function overlap(a, b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
