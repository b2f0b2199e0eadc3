#!/usr/bin/env node
// What the buildpack's start command leads to (deploy/build-link.ts): functions-framework, from the function's own file.
import { load } from './build-load.ts';

load(true).startFramework();
