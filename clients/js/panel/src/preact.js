// A node serves htm with Preact itself in the place of this module.
export {
  html,
  render,
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useReducer,
  useRef,
  useState,
} from "htm/preact/standalone";
