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

const suites = { "tests/suite.ts": "build/suite.js", "cluster/suite.ts": "build/cluster.js" };
for (const [suite, outfile] of Object.entries(suites)) {
  await build({
    entryPoints: [suite],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "external",
    sourcemap: "inline",
  });
}
