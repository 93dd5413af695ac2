export function Logo() {
  return (
    <svg className="logo" viewBox="0 0 32 32" width="32" height="32" aria-hidden>
      <rect width="32" height="32" rx="9" fill="var(--accent)" />
      <path d="M9 25V15a7 7 0 0 1 14 0v10h-5v-9.5a2 2 0 0 0-4 0V25z" fill="var(--on-accent)" />
    </svg>
  );
}
