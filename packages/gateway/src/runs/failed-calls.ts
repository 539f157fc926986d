/** Models whose failed calls stand in the log, once each: with what the provider answered, and without its key. */
import type { Log } from "../kit/log.ts";
import { ModelError, type Model, type ModelEvent, type ModelRequest, type Models } from "../models/model.ts";

/** `about` says whose calls they are. A call that was stopped from here is no failure. */
export function logFailedCalls(models: Pick<Models, "get">, log: Log, about: object): Pick<Models, "get"> {
  const tell = (error: unknown, model: string): unknown => {
    if (!(error instanceof ModelError) || error.kind === "aborted") return error;
    const { kind, retryable, httpStatus, message, answer } = error;
    log.warn({ ...about, model, kind, retryable, httpStatus, error: message, answer }, "a model call failed");
    return error;
  };
  return {
    async get(id) {
      try {
        const model = await models.get(id);
        return logged(model, (error) => tell(error, id));
      } catch (error) {
        throw tell(error, id);
      }
    },
  };
}

function logged(model: Model, tell: (error: unknown) => unknown): Model {
  const { name, provider } = model;
  async function* stream(request: ModelRequest): AsyncGenerator<ModelEvent> {
    try {
      yield* model.stream(request);
    } catch (error) {
      throw tell(error);
    }
  }
  return { name, provider, stream, problemWithThinking: (level) => model.problemWithThinking(level) };
}
