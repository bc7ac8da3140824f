// A node serves htm with Preact itself in the place of this module.
export {
  html,
  render,
  useEffect,
  useLayoutEffect,
  useMemo,
  useReducer,
  useRef,
  useState,
} from "htm/preact/standalone";
