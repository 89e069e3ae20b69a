// Asks @openfeature/flagd-core (in FLAGD_NODE_MODULES) what rules come to: a line of input is one rule and its contexts,
// a line of output what they came to, compiled and interpreted.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const require = createRequire(`${process.env.FLAGD_NODE_MODULES}/`);
const { FeatureFlag } = require('@openfeature/flagd-core');
const silent = { debug() {}, info() {}, warn() {}, error() {} };

function shown(value) {
  if (value === undefined || value === null) return null;
  if (typeof value === 'number') return Number.isFinite(value) ? value : { other: true };
  if (typeof value === 'object' || typeof value === 'function') return { other: true };
  return value;
}

function ask(rule, contexts, disableDynamicCodeGeneration) {
  const flag = { state: 'ENABLED', variants: { on: true }, defaultVariant: 'on', targeting: rule };
  const made = new FeatureFlag('drawn', flag, silent, { disableDynamicCodeGeneration });
  return contexts.map((context) => {
    if (made._targeting === undefined) return { raised: true };
    try {
      return shown(made._targeting.evaluate('drawn', context, silent));
    } catch {
      return { raised: true };
    }
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  const { rule, contexts } = JSON.parse(line);
  console.log(JSON.stringify([ask(rule, contexts, false), ask(rule, contexts, true)]));
}
