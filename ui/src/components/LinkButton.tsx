import { Button, type ButtonProps } from "@mantine/core";
import { Link } from "react-router";

/** A button that leads somewhere; a disabled one is no link, which keys could still follow. */
export function LinkButton({ to, disabled, ...rest }: ButtonProps & { to: string }) {
  if (disabled) return <Button {...rest} disabled />;
  return <Button {...rest} component={Link} to={to} />;
}
