// For `node --import`: as if the optional package chdb was not installed.
import { register } from 'node:module';

const hooks = `export const resolve = (name, context, next) =>
  name === 'chdb' ? Promise.reject(new Error('Cannot find package chdb')) : next(name, context);`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
