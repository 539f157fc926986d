/** Budgets as their rows have them: nothing is spent or held beyond a bound, and every reply is spent once. */
import type { FaultyDatabase } from "./faulty-database.ts";
import type { Used } from "./journals.ts";

interface BudgetFacts {
  readonly budget_id: string;
  readonly parent_id: string | null;
  readonly max_tokens: number | null;
  readonly max_micro_usd: number | null;
  readonly max_turns: number | null;
  readonly spent_tokens: number;
  readonly spent_micro_usd: number;
  readonly spent_turns: number;
  readonly held_tokens: number;
  readonly held_micro_usd: number;
  readonly held_turns: number;
}

const dimensions = ["tokens", "micro_usd", "turns"] as const;
/** What an agent may use in a day: its bound may have been another one when it was spent. */
const isOfDay = ({ budget_id }: BudgetFacts): boolean => budget_id.startsWith("day:");

export class Ledger {
  readonly #database: FaultyDatabase;
  readonly #usedBy: (runId: string) => Used;
  readonly #found: (problem: string) => void;

  constructor(database: FaultyDatabase, usedBy: (runId: string) => Used, found: (problem: string) => void) {
    this.#database = database;
    this.#usedBy = usedBy;
    this.#found = found;
  }

  look(): void {
    const budgets = this.#read();
    if (budgets.size === 0) return;
    const spent = this.#sumUp(budgets);
    for (const budget of budgets.values()) {
      this.#checkBounds(budget);
      const { tokens, turns } = spent.get(budget.budget_id) ?? { tokens: 0, turns: 0 };
      if (!isOfDay(budget) && (budget.spent_tokens !== tokens || budget.spent_turns !== turns))
        this.#found(
          `${budget.budget_id} has spent ${budget.spent_tokens} tokens in ${budget.spent_turns} turns, its runs ${tokens} in ${turns}`,
        );
    }
  }

  /** When nothing works any more nothing is held. */
  lookAtTheEnd(): void {
    this.look();
    const held = [...this.#read().values()].find((one) => dimensions.some((dimension) => one[`held_${dimension}`] !== 0));
    if (held !== undefined) this.#found(`${held.budget_id} holds ${held.held_tokens} tokens for nobody`);
  }

  #read(): ReadonlyMap<string, BudgetFacts> {
    const rows = this.#database.statement("select * from budgets").all() as unknown as BudgetFacts[];
    return new Map(rows.map((row) => [row.budget_id, row]));
  }

  #checkBounds(budget: BudgetFacts): void {
    for (const dimension of dimensions) {
      const [most, spent, held] = [budget[`max_${dimension}`], budget[`spent_${dimension}`], budget[`held_${dimension}`]];
      if (held < 0) this.#found(`${budget.budget_id} holds ${held} ${dimension}`);
      if (!isOfDay(budget) && most !== null && spent + held > most)
        this.#found(`${budget.budget_id} has ${most} ${dimension}; ${spent} are spent and ${held} held`);
    }
  }

  /** What the runs of each budget used, with those below it. */
  #sumUp(budgets: ReadonlyMap<string, BudgetFacts>): ReadonlyMap<string, Used> {
    const spent = new Map<string, Used>();
    for (const { run_id: runId, terms } of this.#database.statement("select run_id, terms from runs where terms is not null").all()) {
      const used = this.#usedBy(String(runId));
      // Written by the store from terms.
      let { budgetId } = JSON.parse(String(terms)) as { budgetId?: string };
      while (budgetId !== undefined) {
        const before = spent.get(budgetId) ?? { tokens: 0, turns: 0 };
        spent.set(budgetId, { tokens: before.tokens + used.tokens, turns: before.turns + used.turns });
        budgetId = budgets.get(budgetId)?.parent_id ?? undefined;
      }
    }
    return spent;
  }
}
