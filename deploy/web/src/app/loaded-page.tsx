import { type ComponentType, type LazyExoticComponent, lazy } from "react";

/** Loads a page's files. */
export type Load = () => Promise<{ default: ComponentType }>;

const pages = new Map<Load, LazyExoticComponent<ComponentType>>();

/** A page that is loaded when it is opened, so that the sign-up page stays small. */
export function LoadedPage({ load }: { load: Load }) {
  let Page = pages.get(load);
  if (!Page) {
    Page = lazy(load);
    pages.set(load, Page);
  }
  return <Page />;
}

/** Lets pages that were not loaded be loaded again: React keeps a failure as it keeps a page. */
export function forgetPages(): void {
  pages.clear();
}
