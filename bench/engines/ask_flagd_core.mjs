// flagd's evaluator in Node, as its in-process providers use it.
import { createRequire } from "node:module";
import { COUNTRIES, FLAGS, KEY, PERSON, USER, check, measure } from "./timing.mjs";

const { FlagdCore } = createRequire(process.env.ENGINE + "/")("@openfeature/flagd-core");
const nobody = () => {};
const quiet = { error: nobody, warn: nobody, info: nobody, debug: nobody };
const core = new FlagdCore(undefined, quiet);
const matches = { and: [{ in: [{ var: "country" }, COUNTRIES] }, { "==": [{ var: "plan" }, "pro"] }] };
const targeting = { if: [matches, { fractional: [["on", 50], ["off", 50]] }, "off"] };
const flag = { state: "ENABLED", variants: { on: true, off: false }, defaultVariant: "off", targeting };
core.setConfigurations(JSON.stringify({ flags: Object.fromEntries(FLAGS.map((key) => [key, flag])) }));

const decide = (context) => core.resolveBooleanEvaluation(KEY, false, context, quiet).value;
check((targetingKey, person) => decide({ targetingKey, ...person }));
const user = { targetingKey: USER, ...PERSON };
measure(() => decide(user));
