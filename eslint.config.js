import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: [".venv/", "demo/", "site/", "build/"] },
  js.configs.recommended,
  {
    rules: {
      curly: ["error", "multi-line"],
      eqeqeq: "error",
      "no-shadow": "error",
      "no-var": "error",
      "prefer-const": ["error", { destructuring: "all" }],
    },
  },
  {
    files: ["src/regiontree/viewer/web/**/*.js"],
    languageOptions: { ecmaVersion: 2023, globals: globals.browser },
    rules: {
      // What the bundler of the single page does not read: see bundle.py.
      "no-restricted-syntax": [
        "error",
        "ExportDefaultDeclaration",
        "ExportAllDeclaration",
        "ExportNamedDeclaration[source]",
        "ImportDefaultSpecifier",
        "ImportNamespaceSpecifier",
        "ImportExpression",
      ],
    },
  },
  {
    files: ["tests/web/**/*.js", "eslint.config.js"],
    languageOptions: { ecmaVersion: 2023, globals: globals.node },
  },
];
