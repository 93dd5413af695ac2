import { useLayoutEffect, useRef, useState, type RefObject } from 'react';
import type { Size } from './grid';

/** The inner size of an element, followed as it changes. Null until it has been measured. */
export function useSize<T extends HTMLElement>(): [RefObject<T | null>, Size | null] {
  const element = useRef<T>(null);
  const [size, setSize] = useState<Size | null>(null);
  useLayoutEffect(() => {
    const target = element.current;
    if (!target) return;
    const measure = () => setSize({ width: target.clientWidth, height: target.clientHeight });
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(target);
    return () => observer.disconnect();
  }, []);
  return [element, size];
}
