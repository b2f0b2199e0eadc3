// A provider's schema, as provider-schemas.json has it.

/** [type as cty writes it, flags]: r required, o optional, c computed, s sensitive, w write-only, d deprecated. */
export type Attribute = [type: unknown, flags: string];
export interface NestedBlock {
  nesting: 'single' | 'list' | 'set';
  min?: number;
  max?: number;
  block: Block;
}
export interface Block {
  [name: string]: Attribute | NestedBlock;
}
export interface Provider {
  config: Block;
  resource: Record<string, Block>;
  data: Record<string, Block>;
}
