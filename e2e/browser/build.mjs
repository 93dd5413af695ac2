// Bundles the two halves: the page that runs inside Chromium, and the suite that runs in node.
import { build } from "esbuild";

await build({
  entryPoints: ["page/main.ts"],
  outfile: "build/page.js",
  bundle: true,
  format: "iife",
  target: "chrome120",
  sourcemap: "inline",
});

await build({
  entryPoints: ["tests/suite.ts"],
  outfile: "build/suite.js",
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  packages: "external",
  sourcemap: "inline",
});
