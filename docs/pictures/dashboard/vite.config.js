// Builds the page that draws the dashboard, and passes its questions on to the Prometheus of the demo.
export default {
  esbuild: { jsx: 'automatic' },
  build: { target: 'esnext', reportCompressedSize: false, rollupOptions: { onwarn() {} } },
  define: { 'process.env.NODE_ENV': '"production"' },
  preview: { proxy: { '/api': { target: process.env.PROMETHEUS } } },
};
