import { z } from 'zod';
import type { Route } from './route.ts';
import { problem } from './schemas/common.ts';
import { pullEnded } from './schemas/pull.ts';

type Json = Record<string, unknown>;

/** The OpenAPI 3.1 document of the routes, as GET /openapi.json answers it. */
export function openApiDocument(routes: readonly Route[], version: string): Json {
  const schemas: Json = {};
  /** Nouns with a name become components, once. */
  const schemaOf = (schema: z.ZodType, io: 'input' | 'output'): Json => {
    const { $schema, $defs, ...json } = z.toJSONSchema(schema, {
      io,
      target: 'draft-2020-12',
      unrepresentable: 'any',
    }) as Json;
    for (const [name, definition] of Object.entries(($defs ?? {}) as Json)) {
      schemas[name] = relocated(definition as Json);
    }
    const own = schema.meta()?.id;
    if (own === undefined) return relocated(json);
    // A noun with a name may come as a reference to its own definition.
    schemas[own] ??= relocated(json);
    return { $ref: `#/components/schemas/${own}` };
  };
  const problems = {
    description: 'What went wrong, with a stable code',
    content: { 'application/problem+json': { schema: schemaOf(problem, 'output') } },
  };
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const { answer } = route;
    paths[route.path] ??= {};
    const content =
      answer.schema === undefined
        ? {}
        : {
            content: {
              [answer.mediaType ?? 'application/json']: {
                schema: schemaOf(answer.schema, 'output'),
              },
            },
          };
    (paths[route.path] as Json)[route.method.toLowerCase()] = {
      operationId: route.id,
      summary: route.summary,
      ...(route.description === undefined ? {} : { description: route.description }),
      security: [{ token: [route.scope] }],
      parameters: [
        ...parameters(route.params, 'path', schemaOf),
        ...parameters(route.query, 'query', schemaOf),
        ...Object.entries(route.headers ?? {}).map(([name, description]) => ({
          ...{ name, in: 'header', description, schema: { type: 'string' } },
        })),
      ],
      ...(route.body === undefined
        ? {}
        : {
            requestBody: {
              required: true,
              content: { 'application/json': { schema: schemaOf(route.body, 'input') } },
            },
          }),
      responses: {
        [answer.status]: { description: answer.description, ...content },
        default: { $ref: '#/components/responses/Problem' },
      },
    };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'drayage',
      version,
      description: 'Moves container images from registries to the nodes of a fleet.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    paths,
    webhooks: { pullEnded: webhookOf(schemaOf(pullEnded, 'output')) },
    components: {
      schemas,
      responses: { Problem: problems },
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'Made with: dray token create' },
      },
    },
  };
}

/** What a service is asked that is named as the webhook of a pull. */
function webhookOf(schema: Json): Json {
  const header = (name: string, description: string) => ({
    ...{ name, in: 'header', required: true, description, schema: { type: 'string' } },
  });
  return {
    post: {
      operationId: 'pullEnded',
      summary: 'A pull has ended',
      description:
        'As Standard Webhooks has it. Redirects are not followed. What is not answered with 200 to 299 within 10 s is tried again for half an hour, but after 410.',
      parameters: [
        header('webhook-id', 'The same each time that the message is sent: take it once'),
        header('webhook-timestamp', 'Seconds since 1970: refuse what is older than five minutes'),
        header(
          'webhook-signature',
          '`v1,` and the base64 of the HMAC-SHA256 over `webhook-id.webhook-timestamp.body`, by the key that `webhooks.key` has in base64',
        ),
      ],
      requestBody: { required: true, content: { 'application/json': { schema } } },
      responses: { '2XX': { description: 'It was heard' } },
    },
  };
}

function parameters(
  schema: z.ZodType | undefined,
  place: 'path' | 'query',
  schemaOf: (schema: z.ZodType, io: 'input') => Json,
): Json[] {
  if (schema === undefined) return [];
  const { properties = {}, required = [] } = schemaOf(schema, 'input') as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...rest }]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    ...(description === undefined ? {} : { description }),
    schema: rest,
  }));
}

/** Local definitions stand among the components. */
function relocated(schema: Json): Json {
  return JSON.parse(
    JSON.stringify(schema).replaceAll('"#/$defs/', '"#/components/schemas/'),
  ) as Json;
}
