import { dismissToast, useToasts } from './toast-store';
import './toasts.css';

export function Toasts() {
  const toasts = useToasts();
  return (
    <div className="toasts" role="status" aria-live="polite">
      {toasts.map((toast) => (
        <button key={toast.id} type="button" className="toast" data-tone={toast.tone} data-testid="toast" onClick={() => dismissToast(toast.id)}>
          {toast.text}
        </button>
      ))}
    </div>
  );
}
