/// <reference types="vitest/config" />
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin, type Rolldown } from "vite";

const OUT = "../src/tocsin/ui/static";

/** Writes a compressed copy beside each file that gains by it, so that the server need not. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    closeBundle() {
      for (const folder of [OUT, join(OUT, "assets")]) {
        for (const name of readdirSync(folder)) {
          if (/\.(js|css|svg|json)$/.test(name)) {
            const path = join(folder, name);
            writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }));
          }
        }
      }
    },
  };
}

/** Has the font of the first page fetched with its styles, not after them. */
function preloadedFont(): Plugin {
  return {
    name: "preloaded-font",
    apply: "build",
    transformIndexHtml(_, { bundle }) {
      const font = Object.keys(bundle ?? {}).find((name) =>
        /inter-latin-wght.*\.woff2$/.test(name),
      );
      if (!font) throw new Error("the font of the pages is not among their files");
      const attrs = {
        rel: "preload",
        as: "font",
        type: "font/woff2",
        crossorigin: "",
        href: `/${font}`,
      };
      return [{ tag: "link", attrs, injectTo: "head" }];
    },
  };
}

const firstPage = new Set<string>();

/**
 * What the first page needs goes into one file: a browser has six connections to a server, which
 * a dozen small files would keep from asking for the data.
 */
function ofFirstPage(
  id: string,
  context: { getModuleInfo(id: string): Rolldown.ModuleInfo | null },
) {
  if (firstPage.size === 0) {
    const waiting = [join(import.meta.dirname, "src/main.tsx")];
    for (let one = waiting.pop(); one; one = waiting.pop()) {
      if (firstPage.has(one)) continue;
      firstPage.add(one);
      waiting.push(...(context.getModuleInfo(one)?.importedIds ?? []));
    }
  }
  return firstPage.has(id) ? "first" : null;
}

export default defineConfig({
  plugins: [react(), compressed(), preloadedFont()],
  build: {
    outDir: OUT,
    emptyOutDir: true,
    manifest: "manifest.json",
    target: "es2022",
    // These know light-dark(), which the colours are written with.
    cssTarget: ["chrome123", "edge123", "firefox120", "safari17.5"],
    chunkSizeWarningLimit: 800,
    rolldownOptions: { output: { codeSplitting: { groups: [{ name: ofFirstPage }] } } },
    assetsInlineLimit: 0,
  },
  server: {
    proxy: { "^/(api|healthz|readyz|metrics)": "http://127.0.0.1:8080" },
  },
  test: { include: ["src/**/*.test.{ts,tsx}"], environment: "node" },
});
