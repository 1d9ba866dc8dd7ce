import {
  ActionIcon,
  Button,
  Drawer,
  Menu,
  Select,
  useComputedColorScheme,
  useMantineColorScheme,
} from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import {
  IconActivity,
  IconAlarm,
  IconBell,
  IconBook,
  IconBroadcast,
  IconClock,
  IconDeviceDesktop,
  IconHeartbeat,
  IconHistory,
  IconKey,
  IconKeyboard,
  IconLock,
  IconLogout,
  IconMenu2,
  IconMoon,
  IconPlugConnectedX,
  IconSearch,
  IconServer2,
  IconSun,
  IconTimeline,
  IconWorld,
} from "@tabler/icons-react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { lazy, type ReactNode, Suspense, useEffect, useRef, useState } from "react";
import { NavLink, Outlet, ScrollRestoration, useLocation } from "react-router";
import { useLiveState } from "../api/liveContext";
import { healthQuery } from "../api/queries";
import { features, serverVersion, useSession } from "../api/session";
import { type NavItem, navFor } from "../lib/nav";
import { allZones, setZone, useZone } from "../lib/prefs";
import { clockTime, LOCAL_ZONE } from "../lib/time";
import { Bell } from "./Bell";
import { useShortcuts } from "./shortcuts";
import { Tips } from "./Tips";

const Palette = lazy(() => import("./Palette"));
const ShortcutHelp = lazy(() => import("./ShortcutHelp"));

const ICONS: Record<string, ReactNode> = {
  "/": <IconActivity size={16} stroke={1.75} aria-hidden="true" />,
  "/timeline": <IconTimeline size={16} stroke={1.75} aria-hidden="true" />,
  "/jobs": <IconAlarm size={16} stroke={1.75} aria-hidden="true" />,
  "/executions": <IconHistory size={16} stroke={1.75} aria-hidden="true" />,
  "/monitors": <IconHeartbeat size={16} stroke={1.75} aria-hidden="true" />,
  "/alerts": <IconBell size={16} stroke={1.75} aria-hidden="true" />,
  "/channels": <IconBroadcast size={16} stroke={1.75} aria-hidden="true" />,
  "/cluster": <IconServer2 size={16} stroke={1.75} aria-hidden="true" />,
  "/keys": <IconKey size={16} stroke={1.75} aria-hidden="true" />,
  "/secrets": <IconLock size={16} stroke={1.75} aria-hidden="true" />,
  "/audit": <IconBook size={16} stroke={1.75} aria-hidden="true" />,
};

export function Shell() {
  const session = useSession();
  const items = navFor(features, session.refusal);
  const [menu, { open, close }] = useDisclosure();
  const [palette, setPalette] = useState(false);
  const [help, setHelp] = useState(false);
  const { pathname } = useLocation();
  const client = useQueryClient();
  useShortcuts({
    items,
    openPalette: () => setPalette(true),
    openHelp: () => setHelp(true),
    refresh: () => void client.invalidateQueries(),
  });
  useTabState();

  // biome-ignore lint/correctness/useExhaustiveDependencies: the menu closes when the page changes
  useEffect(close, [pathname]);

  const inner = (
    <SideInner items={items} openPalette={() => setPalette(true)} openHelp={() => setHelp(true)} />
  );
  return (
    <>
      <a className="skip-link" href="#content">
        Skip to the content
      </a>
      <div className="frame">
        <header className="topbar">
          <ActionIcon variant="subtle" color="gray" onClick={open} aria-label="Open the menu">
            <IconMenu2 size={19} aria-hidden="true" />
          </ActionIcon>
          <span className="brand">
            <Bell size={20} /> Tocsin
          </span>
          <span className="grow" />
          <LiveDot />
          <ActionIcon
            variant="subtle"
            color="gray"
            onClick={() => setPalette(true)}
            aria-label="Search and commands"
          >
            <IconSearch size={18} aria-hidden="true" />
          </ActionIcon>
        </header>
        <aside className="side" aria-label="Sidebar">
          <div className="brand">
            <Bell /> Tocsin
          </div>
          {inner}
        </aside>
        <main className="main" id="content" tabIndex={-1}>
          <Banner />
          <div className="main-inner">
            <Suspense fallback={null}>
              <Outlet />
            </Suspense>
          </div>
          <Tips />
        </main>
      </div>
      <Drawer opened={menu} onClose={close} size={250} title="Tocsin" padding="sm">
        {inner}
      </Drawer>
      <Suspense fallback={null}>
        {palette && <Palette items={items} onClose={() => setPalette(false)} />}
        {help && <ShortcutHelp items={items} onClose={() => setHelp(false)} />}
      </Suspense>
      <Announcer />
      <ScrollRestoration getKey={(location) => location.pathname} />
    </>
  );
}

function SideInner({
  items,
  openPalette,
  openHelp,
}: {
  items: readonly NavItem[];
  openPalette: () => void;
  openHelp: () => void;
}) {
  const session = useSession();
  const groups = [...new Set(items.map((item) => item.group))];
  return (
    <>
      <button type="button" className="side-button" onClick={openPalette}>
        <IconSearch size={16} stroke={1.75} aria-hidden="true" /> Search <kbd>Ctrl K</kbd>
      </button>
      <nav aria-label="Pages">
        {groups.map((group) => (
          <div key={group}>
            <div className="nav-group">{group}</div>
            {items
              .filter((item) => item.group === group)
              .map((item) => (
                <NavLink
                  key={item.path}
                  to={item.path}
                  end={item.path === "/"}
                  className="nav-link"
                >
                  {ICONS[item.path]}
                  {item.label}
                </NavLink>
              ))}
          </div>
        ))}
      </nav>
      <div className="side-foot">
        {session.namespaces.length > 1 && (
          <Select
            aria-label="Namespace"
            data={[...session.namespaces]}
            value={session.namespace}
            onChange={(value) => value && session.setNamespace(value)}
            allowDeselect={false}
            mb={6}
          />
        )}
        <LiveLine />
        <ZoneMenu />
        <ThemeMenu />
        <button type="button" className="side-button" onClick={openHelp}>
          <IconKeyboard size={16} stroke={1.75} aria-hidden="true" /> Shortcuts <kbd>?</kbd>
        </button>
        <a className="side-button" href="/api/docs" target="_blank" rel="noreferrer">
          <IconBook size={16} stroke={1.75} aria-hidden="true" /> API
          <span className="dim num" style={{ marginLeft: "auto", fontSize: "0.6875rem" }}>
            {serverVersion}
          </span>
        </a>
        {session.auth === "on" && (
          <button type="button" className="side-button" onClick={() => void session.signOut()}>
            <IconLogout size={16} stroke={1.75} aria-hidden="true" />
            <span className="cut">
              Sign out{" "}
              <span className="dim">
                {session.keyName ?? "key"} · {session.role}
              </span>
            </span>
          </button>
        )}
      </div>
    </>
  );
}

const LIVE_WORDS = {
  live: ["good", "Live"],
  connecting: ["quiet", "Connecting"],
  lost: ["bad", "Connection lost"],
  resting: ["quiet", "Resting"],
} as const;

function LiveDot() {
  const { state } = useLiveState();
  const [tone, label] = LIVE_WORDS[state];
  return (
    <span className={`state tone-${tone}`} role="status">
      <svg width="9" height="9" aria-hidden="true">
        {state === "live" ? (
          <circle cx="4.5" cy="4.5" r="4" fill="currentColor" />
        ) : (
          <circle cx="4.5" cy="4.5" r="3.3" fill="none" stroke="currentColor" strokeWidth="1.6" />
        )}
      </svg>
      {label}
    </span>
  );
}

function LiveLine() {
  return (
    <div style={{ padding: "5px 12px" }} data-testid="live">
      <LiveDot />
    </div>
  );
}

/** Says that what is shown is old, and since when; never silently. */
function Banner() {
  const { state, completeUntil, retryNow } = useLiveState();
  const zone = useZone();
  if (state !== "lost") return null;
  return (
    <div className="banner" role="alert">
      <IconPlugConnectedX size={17} aria-hidden="true" />
      <span>
        Connection lost. What is shown is from{" "}
        <span className="num">{clockTime(completeUntil, zone)}</span>, and gets no younger until the
        server answers.
      </span>
      <Button size="compact-xs" variant="default" onClick={retryNow}>
        Try now
      </Button>
    </div>
  );
}

function ZoneMenu() {
  const zone = useZone();
  const choices = [...new Set([LOCAL_ZONE, "UTC", zone])];
  return (
    <Menu position="right-end" width={250} trapFocus={false}>
      <Menu.Target>
        <button type="button" className="side-button">
          <IconWorld size={16} stroke={1.75} aria-hidden="true" />
          <span className="cut">{zone}</span>
        </button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>Show times in</Menu.Label>
        {choices.map((one) => (
          <Menu.Item
            key={one}
            leftSection={<IconClock size={15} aria-hidden="true" />}
            onClick={() => setZone(one)}
            aria-current={one === zone}
            fw={one === zone ? 600 : undefined}
          >
            {one} {one === LOCAL_ZONE && <span className="dim">(this device)</span>}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Select
          m={6}
          aria-label="Another zone"
          placeholder="Another zone"
          searchable
          limit={50}
          data={allZones()}
          value={null}
          comboboxProps={{ withinPortal: false }}
          onChange={(value) => value && setZone(value)}
        />
      </Menu.Dropdown>
    </Menu>
  );
}

function ThemeMenu() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const computed = useComputedColorScheme("light");
  const next = colorScheme === "auto" ? "light" : colorScheme === "light" ? "dark" : "auto";
  const icon =
    colorScheme === "auto" ? (
      <IconDeviceDesktop size={16} stroke={1.75} aria-hidden="true" />
    ) : computed === "dark" ? (
      <IconMoon size={16} stroke={1.75} aria-hidden="true" />
    ) : (
      <IconSun size={16} stroke={1.75} aria-hidden="true" />
    );
  const name = { auto: "As the system", light: "Light", dark: "Dark" }[colorScheme];
  return (
    <button
      type="button"
      className="side-button"
      onClick={() => setColorScheme(next)}
      aria-label={`Colours: ${name}. Change to ${next}`}
    >
      {icon} {name}
    </button>
  );
}

/**
 * Says which page one has come to, to those who do not see it change; and where what had the focus
 * has gone with the page before, goes on from the start of the new one.
 */
function Announcer() {
  const { pathname } = useLocation();
  const [said, setSaid] = useState("");
  const first = useRef(pathname);
  useEffect(() => {
    if (first.current === pathname) return;
    first.current = "";
    if (document.activeElement === document.body) {
      document.getElementById("content")?.focus({ preventScroll: true });
    }
    const timer = setTimeout(() => setSaid(document.title), 400);
    return () => clearTimeout(timer);
  }, [pathname]);
  return (
    <div role="status" className="sr-only" data-testid="announcer">
      {said}
    </div>
  );
}

/** The title and the icon of the tab tell the state, for those who look at another one. */
function useTabState(): void {
  const { data, isError } = useQuery(healthQuery());
  const bad = isError || data?.status === "degraded";
  useEffect(() => {
    const link = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
    if (link) link.href = bad ? "/favicon-bad.svg" : "/favicon.svg";
  }, [bad]);
}
