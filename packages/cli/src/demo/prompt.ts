/** What the demo asks its agent: one question about a folder, split over two sub-agents. Pure. */

export const defaultQuestion = "What is in this folder, and where should a newcomer start reading?";

export interface DemoQuestion {
  readonly question: string;
  /** The file that a reader would open first, from the names in the folder; undefined in a folder without files. */
  readonly entryFile: string | undefined;
}

/** The prompt for any model. The built-in one does not think: `scriptFor` tells it the same work step by step. */
export function promptFor({ question, entryFile }: DemoQuestion): string {
  return [
    `Answer this question about the files in your workspace: ${inOneLine(question)}`,
    "",
    "Do it like this:",
    "1. In one turn, call sessions_spawn twice.",
    `   First, label "survey", with the task: ${surveyTask(entryFile)}`,
    `   Second, label "search", with the task: ${searchTask(question)}`,
    "2. Then call sessions_yield, and again until both results are there.",
    "3. Write the answer yourself from both results, in at most ten lines. Name the files it rests on.",
  ].join("\n");
}

/** The line that makes the built-in model do what the prompt asks, on whatever the folder holds. */
export function scriptFor(asked: DemoQuestion): string {
  const spawn = (label: string, task: string, steps: readonly object[]): object => ({
    tool: "sessions_spawn",
    args: { label, task: `${task}\n${toScriptLine(steps)}` },
  });
  return toScriptLine([
    {
      call: [
        spawn("survey", surveyTask(asked.entryFile), surveySteps(asked.entryFile)),
        spawn("search", searchTask(asked.question), searchSteps(asked.question)),
      ],
    },
    { awaitChildren: true },
    { say: `${inOneLine(asked.question)}\n\nWhat my two sub-agents found:\n\n{{children}}` },
  ]);
}

/** The name among `names` that says most about a folder: a readme, else a manifest, else the first by name. */
export function chooseEntryFile(names: readonly string[]): string | undefined {
  const sorted = names.toSorted();
  for (const wanted of [
    /^readme\.md$/i,
    /^readme(\.|$)/i,
    /^(index|main)\./i,
    /^(package\.json|pyproject\.toml|cargo\.toml|go\.mod|makefile)$/i,
    /\.(md|txt)$/i,
  ]) {
    const found = sorted.find((name) => wanted.test(name));
    if (found !== undefined) return found;
  }
  return sorted[0];
}

export interface Search {
  /** What is looked for, in words. */
  readonly about: string;
  /** Arguments of the tool `grep`. */
  readonly args: { readonly pattern: string; readonly ignoreCase: boolean; readonly include?: string };
}

const documents = "*.{md,markdown,rst,adoc,txt}";
const headings: Search = { about: "headings of documents", args: { pattern: "^#{1,3} \\S", ignoreCase: false, include: documents } };
const firstSteps: Search = {
  about: "lines on how to start",
  args: {
    pattern: "getting started|quick ?start|newcomer|how to (install|build|run|start|use)|npm (ci|start|run|test|install)",
    ignoreCase: true,
    include: documents,
  },
};

/** What to look for in the text files: the question's own words; for the default question, or one without words, how the documents begin. */
export function searchesFor(question: string): readonly Search[] {
  const words =
    question === defaultQuestion
      ? []
      : [...new Set(question.toLowerCase().match(/[\p{L}\p{N}_]{3,}/gu) ?? [])].filter((word) => !fillers.has(word));
  if (words.length === 0) return [headings, firstSteps];
  const chosen = words.slice(0, 12);
  // Letters, digits and _ only: nothing in a word needs escaping.
  return [{ about: `lines with ${chosen.join(", ")}`, args: { pattern: chosen.join("|"), ignoreCase: true } }];
}

const fillers: ReadonlySet<string> = new Set(
  (
    "the and for are but not you all any can had has have her was one our out his how its may new now old see two way who did get let put say she too use " +
    "that this with from they will would there their what when where which while about into than then them these those some such only over also does " +
    "done file files folder here more most much must should could want tell show find list explain please"
  ).split(" "),
);

function surveyTask(entryFile: string | undefined): string {
  const read = entryFile === undefined ? "" : ` Then read the beginning of ${entryFile}.`;
  return `List the workspace with ls.${read} Say in a few lines what kind of folder it is and what its main parts are.`;
}

function searchTask(question: string): string {
  const about = searchesFor(question)
    .map((search) => search.about)
    .join(", and ");
  return `Look through the text files of the workspace with grep for ${about}. Report what helps to answer: ${inOneLine(question)} Name file and line.`;
}

function surveySteps(entryFile: string | undefined): readonly object[] {
  const ls = { call: [{ tool: "ls", args: { path: "." } }] };
  if (entryFile === undefined) return [ls, { say: "The folder holds:\n{{head:1:20}}" }];
  return [
    ls,
    { call: [{ tool: "read", args: { path: entryFile, limit: 12 } }] },
    { say: `The folder has {{lines:1}} entries, among them:\n{{head:1:20}}\n\n${withoutBraces(entryFile)} begins:\n{{head:2:8}}` },
  ];
}

function searchSteps(question: string): readonly object[] {
  const searches = searchesFor(question);
  const found = searches.map(({ about }, index) => `Among the ${about}:\n{{head:${index + 1}:12}}`);
  return [{ call: searches.map(({ args }) => ({ tool: "grep", args })) }, { say: found.join("\n\n") }];
}

function toScriptLine(steps: readonly object[]): string {
  return `@script ${JSON.stringify(steps)}`;
}

function inOneLine(text: string): string {
  return withoutBraces(text.replace(/\s+/g, " ").trim());
}

/** Double braces mean something to a script, and nothing in a question or a name. */
function withoutBraces(text: string): string {
  return text.replaceAll("{{", "{ {");
}
