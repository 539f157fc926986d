/** A family of runs: a parent with two children, each with one of its own; every one of them has one effect to leave. */

export interface Family {
  readonly key: string;
  readonly sessionKey: string;
  readonly message: string;
  isAcknowledged: boolean;
}

/** Runs in a family. */
export const familySize = 5;

export function createFamily(name: string): Family {
  const grandchild = (token: string): string => script([effect(token)], { say: `grandchild ${token}` });
  const child = (token: string): string => script([spawn(grandchild(`${token}.g`)), effect(token)], wait, { say: `child ${token}` });
  const message = script([spawn(child(`${name}.a`)), spawn(child(`${name}.b`)), effect(name)], wait, { say: `family ${name} done` });
  return { key: name, sessionKey: `agent:main:${name}`, message, isAcknowledged: false };
}

interface Call {
  readonly tool: string;
  readonly args: object;
}

const wait = { awaitChildren: true };

/** The steps as the built-in model reads them. */
export function script(calls: readonly Call[], ...rest: readonly object[]): string {
  return `@script ${JSON.stringify([...(calls.length === 0 ? [] : [{ call: calls }]), ...rest])}`;
}

export function spawn(task: string): Call {
  return { tool: "sessions_spawn", args: { task } };
}

/** Two tools: one that may not run twice, one that may. */
export function effect(token: string): Call {
  return { tool: "charge", args: { token } };
}
