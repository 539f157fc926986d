/** The command line's help, command by command, at a fixed width and without colour. */
import type { Command } from "commander";
import { createProgram } from "../packages/cli/src/program.ts";

export function listHelp(): readonly { readonly command: string; readonly text: string }[] {
  return listCommand(createProgram(), "");
}

function listCommand(command: Command, parents: string): { command: string; text: string }[] {
  const name = `${parents} ${command.name()}`.trim();
  let text = "";
  command.configureOutput({ getOutHelpWidth: () => 100, getOutHasColors: () => false, writeOut: (part) => (text += part) });
  command.outputHelp();
  const visible = command
    .createHelp()
    .visibleCommands(command)
    .filter((child) => child.name() !== "help");
  return [{ command: name, text }, ...visible.flatMap((child) => listCommand(child, name))];
}
