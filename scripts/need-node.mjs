// Plain JavaScript, run before everything else: a Node that cannot run the sources shall say so, and not "unknown extension".
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
const isEnough = (major === 24 && minor >= 16) || (major === 26 && minor >= 1) || major > 26;
if (!isEnough) {
  console.error(
    `portreeve needs Node 24.16 or newer, or 26.1 or newer; this is ${process.versions.node}. ` +
      "On Linux `npm ci` brings it (without --omit=optional); elsewhere install Node 24 and run `npm ci` again.",
  );
  process.exitCode = 1;
}
