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

const programs = {
  "tests/suite.ts": "build/suite.js",
  "cluster/suite.ts": "build/cluster.js",
  "cluster/guests.ts": "build/guests.js",
};
for (const [program, outfile] of Object.entries(programs)) {
  await build({
    entryPoints: [program],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "external",
    sourcemap: "inline",
  });
}
