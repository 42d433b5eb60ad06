// Chromium with a fresh profile that trusts the development CA, and visitors that record problems of a page.
//
// Certificates are always verified. Any problem that a test does not allow fails it: console errors, exceptions, failed
// requests, blocked cookies, CORS, mixed content, violations of the content security policy.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';

import { chromium } from 'playwright-core';

import { CA, SANDBOX, SCREENSHOTS } from './environment.mjs';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';
const TIMEOUT_MS = 30_000;
const ARGUMENTS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--no-proxy-server',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

let started;
after(async () => (await started)?.close());

/** A visitor of a shop, with a browser context of their own. The first call starts Chromium. */
export async function visitorOf(shop, options = {}) {
  started ??= startBrowser();
  const { browser } = await started;
  return Visitor.arrive(browser, shop, options);
}

/** Starts Chromium; `close` stops it and removes its home directory. */
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

/** A visitor of a shop. */
export class Visitor {
  static async arrive(browser, shop, { width = 1280, height = 900, dark = false } = {}) {
    const visitor = new Visitor();
    visitor.shop = shop;
    visitor.problems = [];
    visitor.allowed = [isAnonymousSession];
    visitor.context = await browser.newContext({
      viewport: { width, height },
      colorScheme: dark ? 'dark' : 'light',
      locale: 'ru-RU',
      permissions: [],
    });
    visitor.context.setDefaultTimeout(TIMEOUT_MS);
    visitor.page = await visitor.open();
    return visitor;
  }

  /** Opens another tab, also watched for problems. */
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
      // Navigation and further typing abort requests.
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

  /** Allows the problems that match `({ kind, text, url }) => …`. */
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

  /** Loads a path of the shop. */
  async visit(path) {
    await this.page.goto(this.shop.url + path);
    await this.settled();
  }

  /** Waits until the page is rendered. */
  async settled() {
    await this.page.locator('main:not([aria-busy]) h1').first().waitFor();
  }

  heading() {
    return this.page.locator('main h1').innerText();
  }

  /** Waits for a temporary message with this text. */
  async seesMessage(text) {
    await this.page.locator('#messages .message', { hasText: text }).first().waitFor();
  }

  /** Checks that the page does not scroll horizontally. */
  async hasNoOverflow() {
    const { width, page } = await this.page.evaluate(() => ({ width: document.documentElement.scrollWidth, page: innerWidth }));
    assert.ok(width <= page, `${this.page.url()} is ${width} px wide in a window of ${page}`);
  }

  /** Saves a screenshot if SCREENSHOTS names a directory. */
  async screenshot(name) {
    if (SCREENSHOTS) await this.page.screenshot({ path: join(SCREENSHOTS, `${this.shop.brand}-${name}.png`) });
  }

  /** Closes the context and fails on problems that are not allowed. */
  async leave() {
    await this.context.close();
    const problems = this.problems.filter((problem) => !this.allowed.some((isExpected) => isExpected(problem)));
    assert.deepEqual(problems, [], `problems of ${this.shop.title}`);
  }
}

/** Chromium logs every status from 400 to the console. The response to a visitor without a session is 401. */
function isAnonymousSession({ kind, text, url }) {
  return kind === 'console' && text.includes('status of 401') && url.endsWith('/auth/session');
}

/** Matches Chromium's console message about a response with this status from this path. */
export function isStatus(status, path) {
  return ({ kind, text, url }) => kind === 'console' && text.includes(`status of ${status}`) && url.includes(path);
}

/**
 * Matches the problems of the sandbox, which uses plain HTTP on another port of the same host: it does not receive the cookies of
 * the API, and Chromium warns about the QR code image over HTTP.
 */
export function isSandboxProblem({ kind, text, url }) {
  if (kind === 'cookie not sent') return SANDBOX.endsWith(url);
  return /Mixed ?Content/.test(text) && text.includes(SANDBOX);
}
