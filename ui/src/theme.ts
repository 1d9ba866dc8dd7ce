import { createTheme, type MantineColorsTuple } from "@mantine/core";

const ink: MantineColorsTuple = [
  "#eef4fa",
  "#dce7f2",
  "#b6cde3",
  "#8db2d4",
  "#6a9bc7",
  "#4f87b9",
  "#37709f",
  "#28557f",
  "#1f4466",
  "#15324d",
];

const gray: MantineColorsTuple = [
  "#f7f8f9",
  "#f0f2f4",
  "#e4e7ea",
  "#d3d8dd",
  "#b4bbc3",
  "#8b949e",
  "#646d77",
  "#4a525b",
  "#343a41",
  "#1f2429",
];

const dark: MantineColorsTuple = [
  "#d5dae0",
  "#b3bac3",
  "#98a1ab",
  "#6d7681",
  "#3b434d",
  "#2c333c",
  "#20262d",
  "#171b21",
  "#12161b",
  "#0d1014",
];

const small = { defaultProps: { size: "sm" } };

export const theme = createTheme({
  colors: { ink, gray, dark },
  primaryColor: "ink",
  primaryShade: { light: 7, dark: 6 },
  autoContrast: true,
  defaultRadius: 5,
  fontFamily: "'Inter Variable', system-ui, sans-serif",
  fontFamilyMonospace: "'JetBrains Mono Variable', ui-monospace, monospace",
  fontSizes: { xs: "0.75rem", sm: "0.8125rem", md: "0.875rem", lg: "1rem", xl: "1.25rem" },
  headings: {
    fontWeight: "600",
    sizes: {
      h1: { fontSize: "1.25rem", lineHeight: "1.35" },
      h2: { fontSize: "0.9375rem", lineHeight: "1.4" },
      h3: { fontSize: "0.8125rem", lineHeight: "1.4" },
    },
  },
  cursorType: "pointer",
  respectReducedMotion: true,
  // By name: to extend the components themselves would load all of them with the first page.
  components: {
    Button: { defaultProps: { size: "xs", radius: 5 } },
    Badge: { defaultProps: { radius: 4, variant: "light" } },
    TextInput: small,
    Textarea: small,
    Select: small,
    NativeSelect: small,
    NumberInput: small,
    TagsInput: small,
    Switch: small,
    Skeleton: { defaultProps: { animate: true } },
    Modal: {
      defaultProps: {
        centered: true,
        transitionProps: { duration: 120 },
        closeButtonProps: { "aria-label": "Close" },
      },
    },
    Drawer: { defaultProps: { closeButtonProps: { "aria-label": "Close" } } },
  },
});
