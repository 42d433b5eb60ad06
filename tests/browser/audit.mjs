// Audits of pages with axe-core: every rule of WCAG 2.2, levels A and AA, in a wide window with the light colours and in a narrow one with the dark.

import assert from 'node:assert/strict';

import axe from 'axe-core';

const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
/** Layout does not depend on colours, nor colours on the layout. The narrow window is the width at which WCAG demands that nothing
 * scrolls horizontally (1.4.10). */
const VIEWS = [
  { size: { width: 1280, height: 900 }, colorScheme: 'light' },
  { size: { width: 320, height: 640 }, colorScheme: 'dark' },
];

// Some rules, that of the size of targets among them, are off unless they are named.
const OPTIONS = {
  runOnly: { type: 'tag', values: TAGS },
  rules: Object.fromEntries(axe.getRules(TAGS).map(({ ruleId }) => [ruleId, { enabled: true }])),
  resultTypes: ['violations'],
  // The frame of an email runs no script; emails are audited as pages of their own.
  iframes: false,
};

/** Audits a page as it is now, or the part of it that matches a selector. `state` names what it shows, in the message of a failure. */
export async function hasNoViolations(page, state, within = 'html') {
  const before = page.viewportSize();
  const problems = [];
  for (const { size, colorScheme } of VIEWS) {
    await page.setViewportSize(size);
    await page.emulateMedia({ colorScheme });
    const found = await run(page, within);
    for (const problem of found) problems.push(`${state}, ${size.width} px, ${colorScheme}: ${problem}`);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    if (width > size.width) problems.push(`${state}: ${width} px wide in a window of ${size.width} px`);
  }
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize(before);
  assert.deepEqual(problems, []);
}

/** The violations that axe-core finds. */
async function run(page, within) {
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(axe.source);
  // Transitions of colours would be audited half-way.
  await page.evaluate(() => Promise.all(document.getAnimations().filter((animation) => animation instanceof CSSTransition).map((animation) => animation.finished.catch(() => {}))));
  const { violations } = await page.evaluate(([selector, options]) => window.axe.run(selector, options), [within, OPTIONS]);
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html, target, any, all, none }) =>
    `${id}: ${[...any, ...all, ...none].map(({ message }) => message).join('; ')} (${target.join(' ')}) ${html.slice(0, 200)}`));
}
