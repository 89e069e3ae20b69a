// GrowthBook in Node: one object a person, made before it is timed.
import { createRequire } from "node:module";
import { COUNTRIES, FLAGS, KEY, PERSON, USER, check, measure } from "./timing.mjs";

const { GrowthBook } = createRequire(process.env.ENGINE + "/")("@growthbook/growthbook");
const condition = { country: { $in: COUNTRIES }, plan: "pro" };
const rule = { condition, force: true, coverage: 0.5, hashAttribute: "id" };
const features = Object.fromEntries(FLAGS.map((key) => [key, { defaultValue: false, rules: [rule] }]));

const person = (id, attributes) => new GrowthBook({ attributes: { id, ...attributes }, features });
check((who, attributes) => person(who, attributes).isOn(KEY));
const made = person(USER, PERSON);
measure(() => made.isOn(KEY), "the person's object is made before");
