// The browser of the tests: Debian's Chromium with a fresh home, which trusts the development authority and nothing else of
// this machine, and people in it, each of whom notes what a visitor must never meet.
//
// Used by every *.test.mjs. Verification is never switched off. Every problem that was not allowed fails the test: console
// errors, exceptions, failed requests, blocked cookies, CORS, mixed content, the policy of the page.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';

import { chromium } from 'playwright-core';

import { CA, SANDBOX, SCREENSHOTS } from './places.mjs';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';
const PATIENCE_MS = 30_000;
const ARGUMENTS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--no-proxy-server',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

let started;
after(async () => (await started)?.close());

/** Somebody with a browser profile of their own in front of a shop; the first one starts Chromium. */
export async function visitorOf(shop, options = {}) {
  started ??= startBrowser();
  const { browser } = await started;
  return Visitor.arrive(browser, shop, options);
}

/** Starts Chromium; `close` ends it and removes its home. */
async function startBrowser() {
  const home = mkdtempSync(join(tmpdir(), 'brandgate-browser.'));
  const nssdb = join(home, '.pki/nssdb');
  mkdirSync(nssdb, { recursive: true });
  execFileSync('certutil', ['-d', `sql:${nssdb}`, '-N', '--empty-password']);
  execFileSync('certutil', ['-d', `sql:${nssdb}`, '-A', '-t', 'C,,', '-n', 'development', '-i', CA]);
  const env = { HOME: home, PATH: process.env.PATH, LANG: 'C.UTF-8', TZ: 'Europe/Moscow' };
  const browser = await chromium.launch({ executablePath: EXECUTABLE, args: ARGUMENTS, env });
  return {
    browser,

    async close() {
      await browser.close();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

/** Somebody in front of a shop. */
export class Visitor {
  static async arrive(browser, shop, { width = 1280, height = 900, dark = false } = {}) {
    const visitor = new Visitor();
    visitor.shop = shop;
    visitor.problems = [];
    visitor.allowed = [isQuestionWhoThisIs];
    visitor.context = await browser.newContext({
      viewport: { width, height },
      colorScheme: dark ? 'dark' : 'light',
      locale: 'ru-RU',
      permissions: [],
    });
    visitor.context.setDefaultTimeout(PATIENCE_MS);
    visitor.page = await visitor.open();
    return visitor;
  }

  /** Another tab, watched like the first. */
  async open() {
    const page = await this.context.newPage();
    await this.watch(page);
    return page;
  }

  async watch(page) {
    const note = (kind, text, url = '') => this.problems.push({ kind, text, url });
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) note('console', message.text(), message.location().url);
    });
    page.on('pageerror', (error) => note('exception', String(error)));
    page.on('requestfailed', (request) => {
      // A page that is left, or a search that is typed on, aborts what it asked for.
      const text = request.failure().errorText;
      if (text !== 'net::ERR_ABORTED') note('request', text, request.url());
    });
    const devtools = await this.context.newCDPSession(page);
    devtools.on('Network.responseReceivedExtraInfo', ({ blockedCookies }) => {
      for (const { blockedReasons, cookieLine } of blockedCookies) note('cookie not taken', `${blockedReasons} ${cookieLine}`);
    });
    devtools.on('Network.requestWillBeSentExtraInfo', ({ associatedCookies, headers }) => {
      const blocked = associatedCookies.filter(({ blockedReasons }) => blockedReasons.length > 0);
      for (const { blockedReasons, cookie } of blocked) note('cookie not sent', `${blockedReasons} ${cookie.name}`, headers[':authority'] ?? headers.Host);
    });
    devtools.on('Network.loadingFailed', ({ corsErrorStatus, blockedReason }) => {
      if (corsErrorStatus) note('CORS', JSON.stringify(corsErrorStatus));
      if (blockedReason) note('blocked', blockedReason);
    });
    devtools.on('Audits.issueAdded', ({ issue }) => note('issue', JSON.stringify(issue)));
    await devtools.send('Network.enable');
    await devtools.send('Audits.enable');
  }

  /** From here on these problems are part of the story: `({ kind, text, url }) => …`. */
  allow(isExpected) {
    this.allowed.push(isExpected);
  }

  /** The first visit: language and region. */
  async enter(language = 'ru', region = '') {
    await this.page.goto(this.shop.url);
    const dialog = this.page.getByRole('dialog');
    await dialog.locator('select[name=shop-language]').selectOption(language);
    await dialog.locator('select[name=shop-region]').selectOption(region);
    await dialog.locator('button.primary').click();
    await dialog.waitFor({ state: 'detached' });
    await this.settled();
  }

  /** Goes somewhere in the shop by its address, as a bookmark does. */
  async visit(path) {
    await this.page.goto(this.shop.url + path);
    await this.settled();
  }

  /** The page has come. */
  async settled() {
    await this.page.locator('main:not([aria-busy]) h1').first().waitFor();
  }

  heading() {
    return this.page.locator('main h1').innerText();
  }

  /** Waits until somebody is told this in passing. */
  async isTold(text) {
    await this.page.locator('#messages .message', { hasText: text }).first().waitFor();
  }

  /** Nothing stands out of the page to the right. */
  async fits() {
    const { wide, page } = await this.page.evaluate(() => ({ wide: document.documentElement.scrollWidth, page: innerWidth }));
    assert.ok(wide <= page, `${this.page.url()} is ${wide} px wide in a window of ${page}`);
  }

  /** A picture for people, where SCREENSHOTS names a directory. */
  async picture(name) {
    if (SCREENSHOTS) await this.page.screenshot({ path: join(SCREENSHOTS, `${this.shop.brand}-${name}.png`) });
  }

  /** Fails on everything that nobody allowed; ends this visit. */
  async leave() {
    await this.context.close();
    const problems = this.problems.filter((problem) => !this.allowed.some((isExpected) => isExpected(problem)));
    assert.deepEqual(problems, [], `what ${this.shop.title} did to its visitor`);
  }
}

/** Chromium writes every status from 400 up to the console. The answer to a visitor without a session is 401. */
function isQuestionWhoThisIs({ kind, text, url }) {
  return kind === 'console' && text.includes('status of 401') && url.endsWith('/auth/session');
}

/** Chromium's line about an answer with this status from this path. */
export function answered(status, path) {
  return ({ kind, text, url }) => kind === 'console' && text.includes(`status of ${status}`) && url.includes(path);
}

/**
 * The sandbox is plain http on another port of the same host: it must not see the API's cookies, and Chromium remarks that the
 * picture of the bank's code comes over http, which it shows because it comes from this machine.
 */
export function atSandbox({ kind, text, url }) {
  if (kind === 'cookie not sent') return SANDBOX.endsWith(url);
  return /Mixed ?Content/.test(text) && text.includes(SANDBOX);
}
