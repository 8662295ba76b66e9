// Server lists as people may see them. Pure.

/** Without user names and passwords, whatever characters they are made of: all up to the last @ of each server. */
export function withoutCredentials(servers: string): string {
  return servers.replaceAll(/\/\/[^,\s]*@/g, '//***@');
}
