// Looks at the pages of a running daemon as people do: Chromium with a screen or a phone, light or dark, a keyboard, and axe-core for whoever
// cannot see them. Each check prints a line; what fails says what was seen, and the exit code is 1.
//
// Arguments: the folder of the packages, the address of the daemon, a folder for pictures.
'use strict';
const path = require('path');
const [packages, base, pictures] = process.argv.slice(2);
const { chromium } = require(path.join(packages, 'playwright-core'));
const axe = require(path.join(packages, 'axe-core')).source;

const SCREEN = { width: 1280, height: 900 };
const PHONE = { width: 360, height: 740 };
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--hide-scrollbars'];
const HOSTILE = '/tokens/hostile';
const PAGES = ['/', '/tokens/soon', HOSTILE, '/subjects/app/helpdesk', '/tokens/nobody'];

let failed = 0;
async function check(name, holds) {
  let seen;
  try {
    seen = await holds();
  } catch (error) {
    seen = String(error);
  }
  if (seen === true) {
    console.log(`ok      ${name}`);
  } else {
    failed += 1;
    console.log(`not ok  ${name}: ${JSON.stringify(seen)}`);
  }
}
const same = (seen, wanted) => JSON.stringify(seen) === JSON.stringify(wanted) || { seen, wanted };
const none = (list) => list.length === 0 || list;

async function main() {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });
  const complaints = [];
  const open = async (look) => {
    const context = await browser.newContext(look);
    const page = await context.newPage();
    page.on('pageerror', (error) => complaints.push(`${page.url()}: ${error}`));
    page.on('console', (message) => {
      // A browser tells of the 404 that this story asks for.
      if (!['error', 'warning'].includes(message.type()) || message.text().includes('status of 404')) return;
      complaints.push(`${page.url()}: ${message.text()}`);
    });
    page.on('requestfailed', (request) => complaints.push(`${request.url()} failed`));
    page.on('request', (request) => {
      if (!request.url().startsWith(base)) complaints.push(`${page.url()} asks for ${request.url()}`);
    });
    return page;
  };
  const names = (page) => page.locator('.token h3').allTextContents();

  for (const [device, viewport] of [['screen', SCREEN], ['phone', PHONE]]) {
    for (const colorScheme of ['light', 'dark']) {
      const page = await open({ viewport, colorScheme });
      for (const address of PAGES) {
        const what = `${address} on a ${device}, ${colorScheme}`;
        await page.goto(base + address);
        await check(`${what}: nothing stands out to the side`, async () => {
          const wide = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
          return wide[0] <= wide[1] || wide;
        });
        await check(`${what}: axe finds nothing`, async () => {
          // Over the protocol, so that the page's own policy stays as strict as it is.
          await page.evaluate(axe);
          const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations', 'incomplete'] }));
          const words = (rule) => `${rule.id}: ${rule.help}: ${rule.nodes.slice(0, 3).map((node) => node.html).join(' | ')}`;
          if (found.passes.length < 15) return `axe judged by ${found.passes.length} rules only`;
          return none(found.violations.map(words));
        });
        const name = `${device}-${colorScheme}${address.replace(/\W+/g, '-')}.png`;
        await page.screenshot({ path: path.join(pictures, name), fullPage: address !== '/' });
      }
      await page.goto(base + '/');
      await check(`${colorScheme} on a ${device}: the background is that of the theme`, async () => {
        const colour = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        const light = colour.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) > 382;
        return light === (colorScheme === 'light') || colour;
      });
      await page.context().close();
    }
  }

  const page = await open({ viewport: SCREEN, javaScriptEnabled: true });
  await page.goto(base + '/');
  await check('the head line says what is wrong', async () => {
    const line = await page.locator('h1').innerText();
    return /^\d+ tokens need somebody now; the next one ends in \d+ (hours|days?( \d+ hours?)?)$/.test(line) || line;
  });
  await check('the page says how old its truth is', async () => {
    const truth = await page.locator('.truth').innerText();
    return /^As of .*\. Last full pass: .*\. The oldest answer/.test(truth) || truth;
  });
  await check('the most urgent stand first', async () => {
    const marks = await page.locator('.tokens > li').evaluateAll((lines) => lines.map((line) => line.className.split(' ').pop()));
    const rank = { critical: 0, warning: 1, info: 2, fine: 3 };
    return marks.every((mark, n) => n === 0 || rank[marks[n - 1]] <= rank[mark]) || marks;
  });
  await check('every bar says in words what it shows', async () => {
    const words = await page.locator('svg.life').evaluateAll((bars) => bars.map((bar) => bar.getAttribute('aria-label')));
    return (words.length === 50 && words.every((text) => text && text.length > 15)) || words;
  });
  await check('no severity is told by colour alone', async () => {
    const badges = await page.locator('.badge').allInnerTexts();
    return (badges.length >= 50 && badges.every((text) => /^(Critical|Warning|Notice|In order)$/.test(text.trim()))) || badges;
  });

  await page.fill('#q', 'SOON');
  await page.keyboard.press('Enter');
  await page.waitForURL(/q=SOON/);
  await check('a search finds by name, whatever the letters', async () => same(await names(page), ['soon']));
  await check('what was looked for stays in the field', async () => same(await page.inputValue('#q'), 'soon'));
  await page.goto(base + '/');
  await page.selectOption('#f-verdict', 'expired');
  await page.getByRole('button', { name: 'Find' }).click();
  await page.waitForURL(/verdict=expired/);
  await check('a verdict can be chosen', async () => same(await names(page), ['over']));
  await page.goto(base + '/');
  await page.selectOption('#f-receiver', 'night');
  await page.check('#open');
  await page.getByRole('button', { name: 'Find' }).click();
  await page.waitForURL(/receiver=night/);
  await check('receivers and findings can be chosen together', async () => same(await names(page), ['soon']));
  await page.fill('#q', '"><script>alert(1)</script>\u202e');
  await page.keyboard.press('Enter');
  await page.waitForURL(/q=%22/);
  await check('a hostile search finds nothing and is text', async () => {
    const text = await page.getByRole('main').innerText();
    return (text.includes('No token is like that.') && (await page.locator('script').count()) === 0) || text;
  });

  await page.goto(base + '/?open=0&verdict=healthy');
  const first = await names(page);
  await page.getByRole('link', { name: 'Next' }).click();
  await page.waitForURL(/page=2/);
  const second = await names(page);
  await check('pages follow each other and keep what was chosen', async () => {
    const address = new URL(page.url()).search;
    const apart = first.length === 50 && second.length > 0 && second.every((name) => !first.includes(name));
    return (apart && address.includes('verdict=healthy') && address.includes('page=2')) || { address, first, second };
  });
  await page.goto(base + '/?page=99999999999999999999');
  await check('a page that is not there is no fault', async () => (await page.locator('h1').count()) === 1);
  await page.goto(base + '/?page=4000&verdict=healthy');
  await check('beyond the last page stands the last', async () => same(await names(page), second));

  await page.goto(base + '/');
  await page.locator('.token').getByRole('link', { name: 'soon', exact: true }).click();
  await page.waitForURL(/tokens.soon/);
  await check('a token tells why, what to do, what comes and who was told', async () => {
    const heads = await page.locator('h2').allTextContents();
    const wanted = ['Its life', 'What to do now', 'What is open', 'What is known', 'Why this verdict', 'What happens next', 'Who was told'];
    return none(wanted.filter((head) => !heads.includes(head)));
  });
  await check('steps are numbered and name exact commands', async () => {
    const steps = await page.locator('ol.steps li').allInnerTexts();
    const commands = await page.locator('ol.steps code').allInnerTexts();
    return (steps.length > 2 && commands.includes('tokenwatch check soon')) || { steps, commands };
  });
  await check('times can be read by programs', async () => {
    const times = await page.locator('time').evaluateAll((list) => list.map((time) => time.getAttribute('datetime')));
    return (times.length > 3 && times.every((time) => !Number.isNaN(Date.parse(time)))) || times;
  });

  await page.goto(base + HOSTILE);
  await check('what a provider says is text, in its own direction, and alone', async () => {
    const text = await page.getByRole('main').innerText();
    const marks = await page.locator('main script, main img, main iframe').count();
    return (text.includes('<img src=x onerror=') && !text.includes('\u202e') && marks === 0) || { marks, text };
  });

  await page.goto(base + '/');
  await page.keyboard.press('Tab');
  await check('the first stop of the keyboard leads past the head of the page', async () => {
    const stop = await page.evaluate(() => [document.activeElement.className, document.activeElement.getBoundingClientRect().top >= 0]);
    await page.waitForFunction(() => document.activeElement.getBoundingClientRect().top >= 0);
    return stop[0] === 'skip' || stop;
  });
  await page.keyboard.press('Enter');
  await check('and does so', async () => same(await page.evaluate(() => document.activeElement.id), 'content'));
  await check('the keyboard reaches everything in order, and one sees where it is', async () => {
    const wanted = ['q', 'f-verdict', 'f-receiver', 'open'];
    const seen = [];
    const unseen = [];
    for (let n = 0; n < 40; n += 1) {
      await page.keyboard.press('Tab');
      const at = await page.evaluate(() => {
        const it = document.activeElement;
        const style = getComputedStyle(it);
        return { id: it.id, tag: it.tagName, outline: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 };
      });
      if (at.tag === 'BODY') break;
      if (!at.outline) unseen.push(at);
      if (at.id) seen.push(at.id);
    }
    if (unseen.length > 0) return unseen;
    return same(seen.filter((id) => wanted.includes(id)), wanted);
  });

  const before = complaints.length;
  await check('nobody complained: no error, no violation of the policy, nothing asked of elsewhere', async () => none(complaints.slice(0, before)));
  await check('the policy lets neither a script nor a style in', async () => {
    const seen = await page.evaluate(async () => {
      const violations = [];
      document.addEventListener('securitypolicyviolation', (event) => violations.push(event.effectiveDirective));
      const script = document.createElement('script');
      script.textContent = 'window.intruder = true';
      document.body.append(script);
      const paragraph = document.createElement('p');
      paragraph.setAttribute('style', 'position:fixed');
      document.body.append(paragraph);
      await new Promise((resolve) => setTimeout(resolve, 200));
      return { intruder: window.intruder === true, position: getComputedStyle(paragraph).position, violations: violations.sort() };
    });
    return same(seen, { intruder: false, position: 'static', violations: ['script-src-elem', 'style-src-attr'] });
  });

  const plain = await open({ viewport: SCREEN, javaScriptEnabled: false });
  await plain.goto(base + '/?q=soon');
  await check('all of it works without scripts', async () => same(await names(plain), ['soon']));
  await browser.close();
}

main().then(() => process.exit(failed === 0 ? 0 : 1), (error) => {
  console.log(`not ok  the story breaks off: ${error.stack}`);
  process.exit(1);
});
