/** Our definitions beside the published schema: the map is whole, our parameters accept what theirs accept, scopes are the same. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { eventDefinitions, findMethod, type MethodDefinition, methods, parseParams } from "@portreeve/protocol";
import differences from "./differences.json" with { type: "json" };
import { fieldsOf, samplesOf } from "./samples.ts";
import { definitions, misfit, rows, theirMethods, usualNames } from "./their-schema.ts";

const names = Object.keys(methods);
const scopeReasons: Readonly<Record<string, string>> = differences.scopes;
const ownMethods: Readonly<Record<string, string>> = differences.ownMethods;
const narrower: Readonly<Record<string, string>> = differences.narrower;

test("every method and event has one row in definitions.json, and every row is one of them", () => {
  assert.deepEqual(Object.keys(rows.methods).toSorted(), names.toSorted());
  assert.deepEqual(Object.keys(rows.events).toSorted(), Object.keys(eventDefinitions).toSorted());
});

test("every definition that a row names is published, and none that is published under the usual name is left out", () => {
  const named = [
    ...Object.values(rows.methods).flatMap(({ params, result, parts = {} }) => [params, result, ...Object.values(parts)]),
    ...Object.values(rows.events).flatMap(({ payload, parts = {} }) => [payload, ...Object.values(parts)]),
  ];
  const unknown = named.filter((name) => name !== null && definitions[name] === undefined);
  const leftOut = [
    ...Object.entries(rows.methods).flatMap(([name, { params, result }]) =>
      ownMethods[name] !== undefined
        ? []
        : [...(params === null ? [usualNames(name).params] : []), ...(result === null ? [usualNames(name).result] : [])],
    ),
    ...Object.entries(rows.events).flatMap(([name, { payload }]) => (payload === null ? [usualNames(name).event] : [])),
  ].filter((name) => definitions[name] !== undefined);

  assert.deepEqual({ unknown, leftOut }, { unknown: [], leftOut: [] });
});

test("a method needs the scope that it needs there, but where differences.json says why not", () => {
  const differing = names.filter((name) => {
    const theirs = theirMethods[name]?.scope;
    return theirs !== undefined && theirs !== ourScope(methods[name as keyof typeof methods]);
  });

  assert.deepEqual(differing.toSorted(), Object.keys(scopeReasons).toSorted());
});

for (const name of names) {
  const definitionName = rows.methods[name]?.params;
  const definition = findMethod(name);
  if (definitionName === null || definitionName === undefined || definition === undefined) continue;
  test(`${name} accepts what ${definitionName} accepts, or says which field it does not act on`, () => {
    const schema = definitions[definitionName] ?? assert.fail(`there is no definition ${definitionName}`);
    const complaints = samplesOf(schema).flatMap(({ field, isAll, params }) => {
      const problem = misfit(definitionName, params);
      if (isAll && problem !== undefined) return [];
      assert.equal(problem, undefined, `the sample is none: ${JSON.stringify(params)}`);
      const complaint = complaintOf(name, definition, params);
      return complaint === undefined || isKnown(name, field) ? [] : [`${JSON.stringify(params)}: ${complaint}`];
    });

    assert.deepEqual(complaints, []);
  });
}

test("any fields together are accepted, or refused by the name of one of them", () => {
  const judged = names.flatMap((name) => {
    const published = rows.methods[name]?.params ?? "";
    const [schema, definition] = [definitions[published], findMethod(name)];
    const fields = schema === undefined ? undefined : fieldsOf(schema);
    return fields === undefined || definition === undefined ? [] : [{ name, published, fields, definition }];
  });
  const ask = fc.constantFrom(...judged).chain((method) => {
    const { required, values } = method.fields;
    const chosen = Object.fromEntries(Object.entries(values).map(([field, of]) => [field, fc.constantFrom(...of)]));
    return fc.record({ method: fc.constant(method), params: fc.record(chosen, { requiredKeys: [...required] }) });
  });

  fc.assert(
    fc.property(ask, ({ method: { name, published, definition }, params }) => {
      fc.pre(misfit(published, params) === undefined && !Object.keys(params).some((field) => isKnown(name, field)));
      assert.equal(complaintOf(name, definition, params), undefined);
    }),
    { numRuns: 1_000 },
  );
});

test("every narrower field of differences.json is one that is narrower", () => {
  const idle = Object.keys(narrower).filter((place) => {
    const [name = "", field] = place.split(" ");
    const schema = definitions[rows.methods[name]?.params ?? ""];
    const definition = findMethod(name);
    if (schema === undefined || definition === undefined) return true;
    return !samplesOf(schema).some((sample) => sample.field === field && complaintOf(name, definition, sample.params) !== undefined);
  });

  assert.deepEqual(idle, []);
});

/** What is wrong with the parameters, unless it is that a field of theirs is refused by its name. */
function complaintOf(name: string, definition: MethodDefinition, params: object): string | undefined {
  const parsed = parseParams(name, definition, params);
  if (parsed.ok) return undefined;
  const named = /^not (?:supported|allowed): (\w+)$/.exec(parsed.message)?.[1];
  return named !== undefined && Object.hasOwn(params, named) ? undefined : parsed.message;
}

/** All fields at once are as narrow as the narrowest of them. */
function isKnown(name: string, field: string | undefined): boolean {
  return field === undefined
    ? Object.keys(narrower).some((place) => place.startsWith(`${name} `))
    : narrower[`${name} ${field}`] !== undefined;
}

function ourScope({ scope, callers }: MethodDefinition): string {
  if (callers.length === 1 && callers[0] === "node") return "node";
  return typeof scope === "string" ? scope : "dynamic";
}
