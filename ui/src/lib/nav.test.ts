import { expect, it } from "vitest";
import { NAV, navFor } from "./nav";

const all = () => null;

it("shows only what the server has", () => {
  const labels = navFor(new Set(), all).map((item) => item.label);
  expect(labels).toEqual(["Overview", "Timeline", "Jobs", "Executions", "Cluster"]);
});

it("shows pages of administrators to them alone", () => {
  const has = new Set(["session", "keys", "secrets", "audit"]);
  expect(navFor(has, all).map((item) => item.path)).toContain("/keys");
  const refuse = (needs: string) => (needs === "viewer" ? null : "no");
  expect(navFor(has, refuse).map((item) => item.path)).not.toContain("/keys");
});

it("keeps places for what is to come, each with a key of its own", () => {
  expect(NAV.map((item) => item.label)).toEqual(
    expect.arrayContaining(["Monitors", "Alerts", "Channels"]),
  );
  expect(new Set(NAV.map((item) => item.key)).size).toBe(NAV.length);
});
