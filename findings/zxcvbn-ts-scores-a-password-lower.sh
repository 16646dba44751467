#!/usr/bin/env bash
# Two ports of zxcvbn disagree about a password at the score where sites draw the line.
#
# Expected: zxcvbn and @zxcvbn-ts, its maintained successor in the browser, give a password the same score from 0 to 4, so a form
# can show what a server with another port will decide.
#
# What happens: zxcvbn 4.4.2 and the port in Python give `Soleil2020` 2 ("somewhat guessable", 1,559,744 guesses), and
# @zxcvbn-ts/core 4.2.0 with its common and English dictionaries gives it 1, because its dictionaries have other words. A server that
# requires 2 accepts a password that the form calls too weak. Haven's documentation tells forms to ask CheckPassword.
set -euo pipefail

readonly ZXCVBN=4.4.2 ZXCVBN_TS=4.2.0 COMMON=4.1.3 ENGLISH=4.1.1

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cd "$temp"

npm init --yes > /dev/null
npm install --silent --no-audit --no-fund "zxcvbn@$ZXCVBN" "@zxcvbn-ts/core@$ZXCVBN_TS" \
  "@zxcvbn-ts/language-common@$COMMON" "@zxcvbn-ts/language-en@$ENGLISH"

cat > scores.cjs <<'JS'
const assert = require('node:assert');
const zxcvbn = require('zxcvbn');
const { ZxcvbnFactory } = require('@zxcvbn-ts/core');
const common = require('@zxcvbn-ts/language-common');
const english = require('@zxcvbn-ts/language-en');

const successor = new ZxcvbnFactory({
  dictionary: { ...common.dictionary, ...english.dictionary },
  graphs: common.adjacencyGraphs,
  translations: english.translations,
});
const [before, after] = [zxcvbn('Soleil2020'), successor.check('Soleil2020')];
console.log(`zxcvbn: score ${before.score}, ${before.guesses} guesses`);
console.log(`@zxcvbn-ts/core: score ${after.score}, ${after.guesses} guesses`);
assert.deepStrictEqual([before.score, after.score], [2, 1]);
// Where neither dictionary has the words, they agree.
assert.strictEqual(zxcvbn('Kite-over-7').score, successor.check('Kite-over-7').score);
JS
node scores.cjs
echo "ok: as described"
