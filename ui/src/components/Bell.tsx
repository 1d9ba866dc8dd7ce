/** The mark: a bell that is struck. */
export function Bell({ size = 22 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" fill="#28557f" />
      <path
        d="M16 6c4.4 0 7 3.2 7 7.6 0 4.2 1 6.3 2.4 7.9H6.6C8 19.9 9 17.8 9 13.6 9 9.2 11.6 6 16 6Z"
        fill="none"
        stroke="#fff"
        strokeWidth="2.2"
        strokeLinejoin="round"
      />
      <circle cx="16" cy="25" r="2" fill="#ffc46b" />
    </svg>
  );
}
