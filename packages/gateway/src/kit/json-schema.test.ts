import assert from "node:assert/strict";
import { test } from "node:test";
import { type JsonSchema, parseSchema, problemWithValue } from "./json-schema.ts";

const person: JsonSchema = {
  type: "object",
  properties: {
    name: { type: "string", minLength: 1, maxLength: 5 },
    age: { type: "integer", minimum: 0, maximum: 9 },
    tags: { type: "array", items: { enum: ["a", "b"] }, maxItems: 2 },
  },
  required: ["name"],
  additionalProperties: false,
};

const values: readonly (readonly [value: unknown, problem: string | undefined])[] = [
  [{ name: "Ann" }, undefined],
  [{ name: "Ann", age: 9, tags: ["a", "b"] }, undefined],
  [null, "the value must be object"],
  [[], "the value must be object"],
  [{}, 'the value must have "name"'],
  [{ name: "" }, "the value.name must be at least 1 characters"],
  [{ name: "longer" }, "the value.name must be at most 5 characters"],
  [{ name: "Ann", age: 1.5 }, "the value.age must be integer"],
  [{ name: "Ann", age: 10 }, "the value.age must be at most 9"],
  [{ name: "Ann", tags: ["a", "c"] }, 'the value.tags[1] must be one of ["a","b"]'],
  [{ name: "Ann", tags: ["a", "a", "a"] }, "the value.tags must be at most 2 items"],
  [{ name: "Ann", more: 1 }, 'the value must not have "more"'],
  [{ name: "Ann", constructor: 1 }, 'the value must not have "constructor"'],
];

for (const [value, problem] of values) {
  test(`${JSON.stringify(value)}: ${problem ?? "fits"}`, () => {
    assert.equal(problemWithValue(value, person), problem);
  });
}

const nested = (levels: number): unknown => (levels === 0 ? {} : { type: "array", items: nested(levels - 1) });
const bad: readonly (readonly [what: string, schema: unknown, problem: RegExp])[] = [
  ["a pattern", { type: "string", pattern: "(a+)+$" }, /pattern/],
  ["a reference", { $ref: "#" }, /\$ref/],
  ["a type there is not", { type: "date" }, /Invalid option/],
  ["no object", "string", /expected object/],
  ["too many levels", nested(40), /nests deeper than 16 levels/],
  ["more levels than can be followed", JSON.parse(`${'{"items":'.repeat(9_000)}1${"}".repeat(9_000)}`), /nests deeper than 16 levels/],
  ["too much of it", { description: "x".repeat(20_001) }, /may have 20000/],
];

for (const [what, schema, problem] of bad) {
  test(`a schema with ${what} is refused`, () => {
    const parsed = parseSchema(schema);

    assert.match("problem" in parsed ? parsed.problem : "", problem);
  });
}

test("a schema in the subset is taken as it is", () => {
  assert.deepEqual(parseSchema(person), { schema: person });
});
